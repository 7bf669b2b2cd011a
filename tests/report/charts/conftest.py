from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.charts.accuracy_and_speed import main_figures
from moe_eval_plugin.report.charts.by_type import type_figures
from moe_eval_plugin.report.charts.over_k import over_k_figures
from moe_eval_plugin.report.charts.phases import phase_figures
from moe_eval_plugin.report.charts.routing import routings
from moe_eval_plugin.report.read_series import read_series
from tests.report.report_runs import (
    write_other_run,
    write_run,
    wrong_every,
)

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.charts.base import Figure


@pytest.fixture
def figures(tmp_path: Path) -> dict[str, Figure]:
    for k, step in ((8, 40), (4, 10), (1, 2)):
        write_run(tmp_path / f"k{k}", k, wrong_every(step), rate=40 / k)
    write_other_run(tmp_path / "other")
    task = [compute(series, 1.0) for series in read_series([tmp_path])]
    found = [*main_figures(task), *over_k_figures(task)]
    found += [*type_figures(task), *phase_figures(task)]
    found += [figure for one in routings(task) for figure in one.figures]
    return {figure.name: figure for figure in found}
