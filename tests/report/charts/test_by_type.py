from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series

pytest.importorskip("altair", reason="the extra report is not installed")

from moe_eval_plugin.report.charts.by_type import type_figures
from tests.report.charts.chart_values import (
    values,
    vl_convert,
)
from tests.report.report_runs import set_question_types, write_run, wrong_every

if TYPE_CHECKING:
    from pathlib import Path


def test_each_question_type_shows_what_it_loses_at_each_setting(tmp_path: Path) -> None:
    for k, step in ((8, 40), (4, 10), (1, 2)):
        path = write_run(tmp_path / f"k{k}", k, wrong_every(step))
        set_question_types(path, lambda number: "is the" if number < 25 else "what")
    (series,) = read_series([tmp_path])
    found = type_figures([compute(series, 1.0)])

    figure = next(one for one in found if "question-type" in one.name)

    rows = [row for row in values(figure) if "type" in row]
    assert [(row["type"], row["label"]) for row in rows] == [
        (kind, label) for label in ("k=4", "k=1") for kind in ("is the (25)", "what (15)")
    ]
    assert vl_convert.vegalite_to_vega(figure.chart.to_dict())["marks"]
    assert "what (15), k=1: -46.7" in figure.description
