from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("altair", reason="the extra report is not installed")

from tests.report.charts.chart_values import vl_convert

if TYPE_CHECKING:
    from moe_eval_plugin.report.charts.base import Figure


def test_every_kind_of_chart_is_there_once(figures: dict[str, Figure]) -> None:
    assert list(figures) == [
        "accuracy-against-throughput",
        "accuracy-over-k",
        "speed-up-over-k",
        "accuracy-by-answer-type",
        "phases",
        "distinct-prefill",
        "load-evenness",
    ]


def test_each_chart_compiles_and_has_a_text_that_can_be_read_instead(
    figures: dict[str, Figure],
) -> None:
    for figure in figures.values():
        vega = vl_convert.vegalite_to_vega(figure.chart.to_dict())

        assert vega["marks"], figure.name
        assert "k=4" in figure.description, figure.name
