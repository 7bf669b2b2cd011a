"""Scores by type of question: the large types alone, the small ones together, none made up."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.analysis.question_types import MOST_QUESTION_TYPES, question_types
from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.report.tables.table import as_csv, make_full_type_table, make_type_tables
from tests.report.report_runs import records, set_question_types, write_run, wrong_every

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics


def computed(folder: Path, kind_of: Callable[[int], str] | None = None) -> SeriesStatistics:
    """Compute a sweep of three k in which every third or every other answer is lost."""
    for k, step in ((8, 40), (4, 3), (2, 2)):
        path = write_run(folder / f"k{k}", k, wrong_every(step), records(120))
        if kind_of is not None:
            set_question_types(path, kind_of)
    (series,) = read_series([folder])
    return compute(series, 1.0)


def test_small_types_stand_together_and_none_is_lost(tmp_path: Path) -> None:
    # Type 0 holds one question, type 1 two of them, and so on: sizes tell the types apart.
    sizes = [number for number in range(15) for _ in range(number + 1)]

    baseline, *_ = computed(tmp_path, lambda number: f"type {sizes[number]:02}").points

    expected = {f"type {number:02}": number + 1 for number in range(14, 2, -1)}
    found = {kind: one.n_questions for kind, one in baseline.by_question_type.items()}
    assert len(expected) == MOST_QUESTION_TYPES
    assert found == {**expected, "3 other types": 6}
    assert list(found) == [*expected, "3 other types"]


def test_a_single_small_type_keeps_its_name(tmp_path: Path) -> None:
    baseline, *_ = computed(tmp_path, lambda number: f"type {number % 13}").points

    assert set(baseline.by_question_type) == {f"type {number}" for number in range(13)}


def test_the_score_and_difference_of_a_type_are_those_of_its_questions(tmp_path: Path) -> None:
    baseline, other, _ = computed(
        tmp_path, lambda number: "first" if number < 60 else "last"
    ).points

    first = other.by_question_type["first"]
    assert baseline.by_question_type["first"].accuracy == pytest.approx(58 / 60)
    assert baseline.by_question_type["first"].difference is None
    assert first.accuracy == pytest.approx(40 / 60)
    assert first.difference is not None
    # Question 0 is wrong at both, question 40 at the baseline alone.
    assert (first.difference.n_lower, first.difference.n_higher) == (19, 1)
    assert first.difference.difference == pytest.approx(-18 / 60)


def test_the_interval_of_a_type_counts_images(tmp_path: Path) -> None:
    baseline, *_ = computed(tmp_path, lambda number: "first" if number < 60 else "last").points

    images = {one["image_id"] for one in records(60)}
    assert baseline.by_question_type["first"].n_images == len(images) < 60


def test_p_values_of_types_are_adjusted_for_all_types_and_settings(tmp_path: Path) -> None:
    _, *others = computed(tmp_path, lambda number: f"type {number % 4}").points

    found = [
        difference
        for one in others
        for part in one.by_question_type.values()
        if (difference := part.difference)
    ]
    smallest = min(found, key=lambda one: one.p_value)
    assert len(found) == 4 * 2
    assert smallest.adjusted_p_value == pytest.approx(min(1, 8 * smallest.p_value))


def test_answer_types_are_compared_too(tmp_path: Path) -> None:
    _, other, _ = computed(tmp_path).points

    parts = other.by_type.values()
    assert other.difference is not None
    assert len(other.by_type) > 1
    assert (
        sum(one.difference.n_lower for one in parts if one.difference) == other.difference.n_lower
    )


def test_question_types_are_not_made_up_where_the_data_tell_none(tmp_path: Path) -> None:
    numbers = computed(tmp_path)

    assert question_types(numbers.series).order == ()
    assert all(one.by_question_type == {} for one in numbers.points)
    assert list(make_type_tables([numbers])) == ["answer type"]


def test_questions_of_one_type_get_no_table(tmp_path: Path) -> None:
    assert "question type" not in make_type_tables([computed(tmp_path, lambda _: "what")])


def test_types_stand_in_csv_with_a_row_for_each_setting(tmp_path: Path) -> None:
    numbers = computed(tmp_path, lambda number: "first" if number < 60 else "last")

    rows = list(csv.DictReader(io.StringIO(as_csv(make_full_type_table([numbers])))))

    of_kind = [row for row in rows if row["types"] == "question type"]
    assert [(row["type"], row["setting"]) for row in of_kind] == [
        (kind, setting) for kind in ("first", "last") for setting in ("k=8", "k=4", "k=2")
    ]
    assert float(of_kind[1]["difference"]) == pytest.approx(-100 * 18 / 60)
    assert of_kind[0]["difference"] == ""
