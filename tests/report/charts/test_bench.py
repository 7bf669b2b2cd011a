from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError

pytest.importorskip("altair", reason="the extra report is not installed")

from moe_eval_plugin.report.charts.bench import bench_figures, read_bench
from tests.report.charts.chart_values import (
    values,
    vl_convert,
)
from tests.report.report_runs import write_bench

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bench_shows_both_phases_with_their_ceilings(tmp_path: Path) -> None:
    bench = read_bench(write_bench(tmp_path / "bench.json"))

    figures = {figure.name: figure for figure in bench_figures(bench, 0, several=False)}

    assert list(figures) == ["gain-prefill", "gain-decode"]
    rows = values(figures["gain-prefill"])
    assert {(row["k"], row["batch"], row["ceiling"]) for row in rows if "k" in row} == {
        ("k=8", 1, 1),
        ("k=8", 16, 1),
        ("k=4", 1, 2),
        ("k=4", 16, 2),
    }
    for figure in figures.values():
        assert vl_convert.vegalite_to_vega(figure.chart.to_dict())["marks"]


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "sweep"}', '{"kind": "bench"}'])
def test_another_file_is_no_bench(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)

    with pytest.raises(DataError, match="moe-eval bench --output"):
        read_bench(path)
