from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from moe_eval_plugin.measure.speed import LatencyStart
from moe_eval_plugin.report.tables.columns import COLUMNS, LEAST_P
from moe_eval_plugin.report.tables.speed_columns import LATENCY_STARTS
from moe_eval_plugin.report.tables.table import make_table
from tests.report.report_runs import (
    TASK,
    computed,
    in_provenance,
    records,
    right,
    write_run,
    wrong_every,
)
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def test_column_names_are_all_different() -> None:
    names = [column.key for column in COLUMNS]

    assert len(set(names)) == len(names)


def test_a_p_value_at_the_floor_of_the_resampling_is_shown_as_a_bound(tmp_path: Path) -> None:
    questions = records(200)
    write_run(tmp_path / "k8", 8, right, questions)
    write_run(tmp_path / "k4", 4, wrong_every(2), questions)
    numbers = computed(tmp_path)
    own = numbers.points[1]

    shown = {
        column.key: column.cell(numbers, own).text
        for column in COLUMNS
        if column.key in ("p_value", "observed_num_experts_per_tok", "score", "difference")
    }

    assert own.difference is not None
    assert own.difference.p_value == LEAST_P
    assert shown == {
        "p_value": "≤ 0.001",
        "observed_num_experts_per_tok": "4 ✓",
        "score": "50.00%",
        "difference": "−50.00",
    }


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


def test_the_routed_flop_share_is_blank_where_it_is_not_recorded(tmp_path: Path) -> None:
    for k, share in ((8, 0.5), (4, None)):
        path = write_run(tmp_path / f"k{k}", k)
        if share is not None:
            edit_json(path, in_provenance("routed_flop_share", share))
    table = make_table([computed(tmp_path)])
    number = [column.key for column in table.columns].index("routed_flop_share")
    assert [(row[number].value, row[number].text) for row in table.rows] == [
        (0.5, "50.0%"),
        (None, ""),
    ]


def test_without_any_record_there_is_no_column_of_the_routed_flop_share(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    columns = make_table([computed(tmp_path)]).columns
    assert "routed_flop_share" not in [column.key for column in columns]
