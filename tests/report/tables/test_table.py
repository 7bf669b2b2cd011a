"""The tables hold what was computed: unrounded for programs, and written for people."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.report.tables.column import Cell, Column
from moe_eval_plugin.report.tables.table import (
    Table,
    as_csv,
    as_markdown,
    make_short_table,
    make_table,
)
from moe_eval_plugin.text import FORMULA_STARTS
from tests.report.report_runs import write_other_run, write_run, write_sweep, wrong_every
from tests.results.timing.timed_files import around, timed_pass, write_timed_pass

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics


@pytest.fixture
def numbers(tmp_path: Path) -> list[SeriesStatistics]:
    write_run(tmp_path / "k8", 8, wrong_every(20), rate=10)
    write_run(tmp_path / "k4", 4, wrong_every(3), rate=15)
    write_other_run(tmp_path / "other")
    return [compute(series, 1.0) for series in read_series([tmp_path])]


def test_csv_has_a_row_for_each_point_and_numbers_as_they_are(
    numbers: list[SeriesStatistics],
) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(make_table(numbers)))))

    by_setting = {row["setting"]: row for row in rows}
    assert set(by_setting) == {"k=8", "k=4", "unmodified"}
    difference = float(by_setting["k=4"]["difference"])
    assert difference == pytest.approx(100 * (26 / 40 - 38 / 40), abs=1e-12)
    assert float(by_setting["k=4"]["samples_per_s"]) == 15
    assert by_setting["k=8"]["remarks"].startswith("baseline")


@pytest.mark.parametrize("begin", FORMULA_STARTS)
def test_no_cell_of_csv_is_a_formula(begin: str) -> None:
    column = Column("model", "model", "the model", lambda *_: None)
    text = as_csv(Table((column,), ((Cell(f"{begin}1+1", ""),),)))
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == [f"'{begin}1+1"]


def test_what_is_not_known_is_empty_and_never_zero(numbers: list[SeriesStatistics]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(make_table(numbers)))))

    other = next(row for row in rows if row["setting"] == "unmodified")
    assert (other["samples_per_s"], other["difference"], other["wall_s"]) == ("", "", "")


def test_columns_in_which_nothing_is_known_are_left_out(numbers: list[SeriesStatistics]) -> None:
    shown = {column.key for column in make_table(numbers).columns}

    assert "joules_per_sample" not in shown
    assert "peak_memory_gib" in shown


def test_speed_ups_have_their_intervals_in_each_table(tmp_path: Path) -> None:
    answers = {8: wrong_every(10), 4: wrong_every(10)}
    write_sweep(tmp_path, answers, {"k8": around(4), "k4": around(2, spread=0.02)})
    seconds = {"k8": around(1), "k4": around(1)}
    write_timed_pass(tmp_path, timed_pass(seconds, batch_size=1))
    found = [compute(series, 1.0) for series in read_series([tmp_path])]

    baseline, row = csv.DictReader(io.StringIO(as_csv(make_table(found))))
    ratio = found[0].points[1].speed_up

    assert ratio is not None
    assert ratio.interval is not None
    assert float(row["speed_up"]) == ratio.ratio
    assert float(row["speed_up_low"]) == ratio.interval.low < 2 < float(row["speed_up_high"])
    assert float(row["speed_up_of_totals"]) == ratio.ratio_of_totals
    assert (row["timed_batch_size"], row["n_timed_blocks"]) == ("4", "8")
    assert float(row["task_samples_per_s"]) == 10
    assert float(row["model_speed_up"]) == pytest.approx(2, rel=0.05)
    assert float(row["speed_up_batch_1_low"]) == 1
    assert (baseline["speed_up"], baseline["speed_up_low"]) == ("1.0", "")
    short = as_markdown(make_short_table(found))
    assert "Speed-up, batch size 4 (95% interval)" in short
    assert "Speed-up, batch size 1" in short
    assert f"{ratio.text} " in short
    assert "p (Holm)" not in short


def test_a_speed_up_without_an_interval_is_said_to_be_timed_once(
    numbers: list[SeriesStatistics],
) -> None:
    assert "1.50×, timed once" in as_markdown(make_short_table(numbers))


def test_markdown_is_a_table_with_a_row_for_each_point(numbers: list[SeriesStatistics]) -> None:
    tokens = MarkdownIt().enable("table").parse(as_markdown(make_short_table(numbers)))

    assert [token.type for token in tokens].count("tr_open") == 1 + 3


def test_a_name_with_marks_of_markdown_stays_in_its_cell(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 8, pretrained="a|b<i>")
    write_run(tmp_path / "b", 8, pretrained="other")
    found = [compute(series, 1.0) for series in read_series([tmp_path])]

    html = MarkdownIt().enable("table").render(as_markdown(make_short_table(found)))

    assert "<td>a|b&lt;i&gt;</td>" in html
