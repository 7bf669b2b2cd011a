"""All numbers of a series: settings are columns, rows have headings, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.tables.numbers_table import GROUPS, HEADINGS, numbers_tables
from moe_eval_plugin.report.tables.table import make_table
from tests.report.report_runs import computed, write_sweep, wrong_every
from tests.results.timing.timed_files import around

if TYPE_CHECKING:
    from pathlib import Path


def test_every_number_is_a_row_of_one_group_and_an_interval_is_one_row(tmp_path: Path) -> None:
    answers = {8: wrong_every(10), 4: wrong_every(5)}
    write_sweep(tmp_path, answers, {"k8": around(4), "k4": around(2, spread=0.02)})
    numbers = computed(tmp_path)

    (table,) = numbers_tables([numbers])

    assert table.settings == ("k=8", "k=4")
    assert [name for name, _ in table.groups] == list(GROUPS)
    rows = [row for _, own in table.groups for row in own]
    columns = [one for one in make_table([numbers]).columns if one.key not in HEADINGS]
    n_intervals = sum(one.key.endswith("_low") for one in columns)
    assert len(rows) == len(columns) - n_intervals
    assert all(len(row.texts) in (1, 2) for row in rows)
    shown = {row.heading: row.texts for row in rows}
    assert shown["Accuracy"] == ("90.00%", "80.00%")
    assert shown["Observed k"] == ("8 ✓", "4 ✓")
    assert shown["Test"] == ("exact McNemar",)
    accuracy, *_ = rows[1].texts
    assert rows[1].meaning == "95% interval of: Accuracy"
    assert accuracy.endswith("%")
    assert accuracy.count("%") == 1
