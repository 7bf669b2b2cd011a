from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from PIL import Image  # noqa: E402

from moe_eval_plugin.report.charts.files import drawn  # noqa: E402
from moe_eval_plugin.routing.page.heat_map import Axis, HeatMap  # noqa: E402


def heat_map(values: list[list[float]], top: float, form: str = "share") -> HeatMap:
    array = np.array(values)
    rows, columns = (tuple(map(str, range(n))) for n in array.shape)
    axes = Axis("layer", rows), Axis("expert", columns)
    return HeatMap("load", "Load", "A caption", "In words", "a unit", *axes, array, top, form)


def opacities(found: HeatMap) -> list[list[int]]:
    image = Image.open(io.BytesIO(base64.b64decode(found.mask.partition("base64,")[2])))
    assert image.mode == "LA"
    opacity: list[list[int]] = np.asarray(image)[..., 1].tolist()
    return opacity


def test_one_pixel_of_the_mask_is_one_cell_and_its_opacity_the_value() -> None:
    found = heat_map([[0, 0.25, 0.5], [1, float("nan"), 0.1]], top=0.5)

    assert opacities(found) == [[0, 128, 255], [255, 0, 51]]
    assert opacities(heat_map([[0.0, 0.0]], top=0)) == [[0, 0]]


def test_the_legend_says_where_the_colour_ends() -> None:
    assert heat_map([[0.2, 0.5]], top=0.5).top_text == "50%"
    assert heat_map([[0.2, 6.0]], top=4, form="times").top_text == "4× or more"


def test_few_names_are_shown_and_only_unusual_ones_are_stored() -> None:
    many = Axis("expert", tuple(map(str, range(64))))
    layers = Axis("layer", ("3", "7"))

    assert [name for _, name in many.ticks] == ["0", "8", "16", "24", "32", "40", "48", "56"]
    assert layers.ticks == ((0.25, "3"), (0.75, "7"))
    assert many.names_json == ""
    assert json.loads(layers.names_json) == ["3", "7"]


def test_a_file_has_the_image_the_names_and_the_title() -> None:
    files = dict(drawn(heat_map([[0, 0.25], [0.5, 1]], top=0.5).figure))

    svg = files["load.svg"].decode()
    assert "data:image/png;base64," in svg
    assert "Load (strongest colour: 50% or more)" in svg
    assert ">expert<" in svg
    picture = np.asarray(Image.open(io.BytesIO(files["load.png"])).convert("RGB"))
    # The corner of the map that has the strongest colour, and the one that has none.
    assert tuple(picture[picture.shape[0] * 3 // 5, picture.shape[1] * 3 // 5]) == (0, 103, 168)
