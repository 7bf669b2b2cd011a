"""The picture of a model's costs; drawn where matplotlib is installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from transformers import Qwen3Config

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.models.inspection.plot import draw
from moe_eval_plugin.models.inspection.report import ModelReport, inspect_model
from tests.models.tiny_configs import SIZES, deepseek_v2

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def report(tmp_path: Path) -> ModelReport:
    deepseek_v2().save_pretrained(tmp_path / "model")
    return inspect_model(str(tmp_path / "model"))


def test_picture_is_a_whole_png_and_replaces_an_old_one(
    report: ModelReport, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "pictures" / "costs.png"
    path.parent.mkdir()
    path.write_text("old")
    draw(report, path)
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 50
    assert [file.name for file in path.parent.iterdir()] == ["costs.png"]


def test_panels_show_parameters_flops_and_a_line_per_phase_and_batch(report: ModelReport) -> None:
    pytest.importorskip("matplotlib")
    from moe_eval_plugin.models.inspection.plot import figure_of

    parameters, flops, ceilings = figure_of(report).axes
    assert list(parameters.lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6, 8]
    names = [text.get_text() for text in flops.get_legend().get_texts()]
    assert [name.split(",")[0] for name in names] == ["prefill", "decode"]
    names = [text.get_text() for text in ceilings.get_legend().get_texts()]
    assert names == ["prefill", "decode, batch 1", "decode, batch 8", "decode, batch 64"]
    assert list(ceilings.lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6]


def test_missing_matplotlib_names_the_extra(
    report: ModelReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"moe-eval-plugin\[report\]"):
        draw(report, tmp_path / "costs.png")
    assert not (tmp_path / "costs.png").exists()


def test_other_endings_are_refused(report: ModelReport, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"does not end in \.png"):
        draw(report, tmp_path / "costs.jpeg")


def test_folder_that_does_not_exist_is_refused(report: ModelReport, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(InvalidArgumentError, match="cannot be written: No such file"):
        draw(report, tmp_path / "nowhere" / "costs.png")


def test_model_without_costs_is_refused(tmp_path: Path) -> None:
    Qwen3Config(**SIZES, num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(InvalidArgumentError, match="nothing to draw"):
        draw(inspect_model(str(tmp_path)), tmp_path / "costs.png")
