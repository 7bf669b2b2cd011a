from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series

pytest.importorskip("altair", reason="the extra report is not installed")

from moe_eval_plugin.report.charts.routing import routings, short_names
from tests.report.charts.chart_values import values
from tests.report.report_runs import N_LAYERS, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.charts.base import Figure


def test_heat_maps_have_a_cell_for_each_layer_and_setting(figures: dict[str, Figure]) -> None:
    cells = values(figures["distinct-prefill"])

    assert len(cells) == 3 * N_LAYERS
    assert {(cell["label"], cell["value"]) for cell in cells} == {
        ("k=8", 24),
        ("k=4", 12),
        ("k=1", 3),
    }


def test_observed_k_is_the_mean_over_tokens(tmp_path: Path) -> None:
    path = write_run(tmp_path, 8)
    content = json.loads(path.read_text())
    layers = content["moe_eval"]["easy_vqa"]["experts"]["routing"]["layers"]
    # 60 text tokens and 40 image tokens of a prefill, and 4 tokens that were decoded.
    layers["model.layers.0.mlp.experts"]["observed_num_experts_per_tok"]["prefill"]["image"] = 2.0
    path.write_text(json.dumps(content))
    (series,) = read_series([tmp_path])

    (routing,) = routings([compute(series, 1.0)])

    observed = {row["layer"]: row["observed"] for row in values(routing.figures[0])}
    assert routing.sentences == ()
    assert observed["0"] == pytest.approx((64 * 8 + 40 * 2) / 104)
    assert observed["1"] == 8


def test_a_k_that_every_layer_used_exactly_is_a_sentence_and_no_flat_lines(tmp_path: Path) -> None:
    for k in (8, 4):
        write_run(tmp_path / f"k{k}", k)
    (series,) = read_series([tmp_path])

    (routing,) = routings([compute(series, 1.0)])

    assert routing.sentences == (
        "Observed k is exactly the requested one in each of the 3 MoE layers: k=8, k=4 ✓",
    )
    assert [figure.name for figure in routing.figures] == ["distinct-prefill", "load-evenness"]


def test_a_single_setting_is_drawn_as_bars_and_not_as_a_heat_map_of_one_row(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, 8)
    (series,) = read_series([tmp_path])

    (routing,) = routings([compute(series, 1.0)])

    kinds = {figure.chart.to_dict()["mark"]["type"] for figure in routing.figures}
    assert kinds == {"bar"}


def test_layers_are_called_by_what_tells_them_apart() -> None:
    paths = [f"model.layers.{layer}.mlp.experts" for layer in (1, 10, 11)]

    assert short_names(paths) == ["1", "10", "11"]
    assert short_names(["a.0.text", "a.0.image", "a.1.text"]) == ["0 text", "0 image", "1 text"]
    assert short_names(["a.b", "c"]) == ["0", "1"]
    assert short_names([]) == []
