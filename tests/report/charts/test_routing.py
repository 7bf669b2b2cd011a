from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series

pytest.importorskip("altair", reason="the extra report is not installed")

from moe_eval_plugin.report.charts.routing import routing_figures, short_names
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

    figures = list(routing_figures(compute(series, 1.0), 0, several=False))

    observed = {row["layer"]: row["observed"] for row in values(figures[0])}
    assert observed["0"] == pytest.approx((64 * 8 + 40 * 2) / 104)
    assert observed["1"] == 8


def test_layers_are_called_by_what_tells_them_apart() -> None:
    paths = [f"model.layers.{layer}.mlp.experts" for layer in (1, 10, 11)]

    assert short_names(paths) == ["1", "10", "11"]
    assert short_names(["a.0.text", "a.0.image", "a.1.text"]) == ["0 text", "0 image", "1 text"]
    assert short_names(["a.b", "c"]) == ["0", "1"]
    assert short_names([]) == []
