from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from moe_eval_plugin.measure.speed import LatencyStart
from moe_eval_plugin.report.tables.columns import COLUMNS
from moe_eval_plugin.report.tables.speed_columns import LATENCY_STARTS
from moe_eval_plugin.report.tables.table import make_table
from tests.report.report_runs import TASK, computed, write_run
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def test_column_names_are_all_different() -> None:
    names = [column.key for column in COLUMNS]

    assert len(set(names)) == len(names)


def test_small_p_values_are_not_shown_as_zero() -> None:
    column = next(one for one in COLUMNS if one.key == "p_value")

    assert column.text(0.00001) == "<0.001"
    assert column.text(0.25) == "0.250"
    assert column.text(None) == "-"


def latency_columns(folder: Path) -> dict[str, float]:
    table = make_table([computed(folder)])
    cells = zip(table.columns, table.rows[0], strict=True)
    return {
        column.key: cell.value
        for column, cell in cells
        if column.key.startswith(("ttft", "e2e_latency"))
    }


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (None, "ttft_s"),
        ("preprocessing", "ttft_s"),
        ("queue", "ttft_from_queue_s"),
        ("call", "ttft_from_call_s"),
    ],
)
def test_latencies_with_different_starts_have_columns_of_their_own(
    tmp_path: Path, start: str | None, name: str
) -> None:
    path = write_run(tmp_path, 8)
    edit_json(path, lambda content: content["moe_eval"][TASK]["speed"].update(latency_from=start))
    assert latency_columns(tmp_path) == {name: 0.1, f"{name}_p95": 0.2}


def test_every_start_of_a_latency_has_columns() -> None:
    assert set(LATENCY_STARTS) == set(get_args(LatencyStart))
