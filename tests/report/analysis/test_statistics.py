"""The numbers of a report are those of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.measure.answer_ends import AnswerEnds
from tests.report.report_runs import (
    TASK,
    computed,
    records,
    write_other_run,
    write_run,
    wrong_every,
)
from tests.results.run_files import FAILURES
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def test_accuracy_and_difference_are_counted_over_the_questions(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8, wrong_every(20))
    write_run(tmp_path / "k4", 4, wrong_every(4))

    baseline, other = computed(tmp_path).points

    assert (baseline.accuracy, other.accuracy) == (0.95, 0.75)
    assert baseline.difference is None
    assert other.difference is not None
    assert other.difference.difference == pytest.approx(-0.2)
    assert (other.difference.n_lower, other.difference.n_higher) == (8, 0)
    assert other.difference.retention == pytest.approx(0.75 / 0.95)


def test_intervals_count_images_and_not_questions(tmp_path: Path) -> None:
    questions = records(40)
    write_run(tmp_path / "k8", 8, wrong_every(3), questions)

    (point,) = computed(tmp_path).points

    assert point.n_questions == 40
    assert point.n_images == len({one["image_id"] for one in questions})
    assert point.interval is not None
    assert point.interval[0] < point.accuracy < point.interval[1]


def test_p_values_are_adjusted_for_the_number_of_settings(tmp_path: Path) -> None:
    for k, step in ((8, 40), (4, 5), (2, 5), (1, 5)):
        write_run(tmp_path / f"k{k}", k, wrong_every(step))

    differences = [one.difference for one in computed(tmp_path).points if one.difference]

    assert len(differences) == 3
    for one in differences:
        assert one.adjusted_p_value == pytest.approx(min(1, 3 * one.p_value))


def test_speed_is_compared_with_the_baseline(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8, rate=10)
    write_run(tmp_path / "k4", 4, rate=15)

    numbers = computed(tmp_path)

    assert [one.speed_up for one in numbers.points] == [1.0, 1.5]
    assert [one.on_front for one in numbers.points] == [False, True]
    assert numbers.fastest == "k=4"


def test_several_runs_of_a_setting_are_one_point_with_the_median_of_their_rates(
    tmp_path: Path,
) -> None:
    for number, rate in enumerate((10, 30, 20)):
        write_run(tmp_path / f"run-{number}", 8, wrong_every(10 * (number + 1)), rate=rate)

    (point,) = computed(tmp_path).points

    assert point.speed is not None
    assert (point.speed.median, point.speed.smallest, point.speed.largest) == (20, 10, 30)
    assert point.n_questions == 40
    assert point.accuracy == pytest.approx(1 - (4 + 2 + 2) / 120)


def test_answer_types_are_those_of_the_expected_answers_where_the_data_tell_none(
    tmp_path: Path,
) -> None:
    questions = records(40)
    write_run(tmp_path, 8, questions=questions)

    (point,) = computed(tmp_path).points

    n_closed = sum(one["answers"][0] in ("yes", "no") for one in questions)
    found = {kind: one.n_questions for kind, one in point.by_type.items()}
    assert found == {"yes/no": n_closed, "other": 40 - n_closed}


def test_without_samples_the_interval_is_that_of_the_hosts_standard_error(tmp_path: Path) -> None:
    write_other_run(tmp_path, samples=False)

    (point,) = computed(tmp_path).points

    assert point.interval is not None
    assert point.interval[1] - point.accuracy == pytest.approx(0.0196, abs=1e-4)
    assert (point.difference, point.speed, point.n_images) == (None, None, None)


def test_a_run_without_samples_is_not_compared_and_the_report_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, samples=False)

    numbers = computed(tmp_path)

    assert numbers.points[1].difference is None
    assert any("k=4" in note and "--log_samples" in note for note in numbers.notes)


def test_a_sweep_without_the_published_k_says_that_there_is_no_baseline(tmp_path: Path) -> None:
    write_run(tmp_path / "k4", 4)
    write_run(tmp_path / "k2", 2)

    numbers = computed(tmp_path)

    assert all(one.difference is None and one.speed_up is None for one in numbers.points)
    assert any("No baseline: run the published k (k=8)" in note for note in numbers.notes)


def test_failed_requests_are_counted_beside_the_findings(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, wrong_every(20, FAILURES[0]))

    (note,) = computed(tmp_path).notes

    assert note.startswith("k=4: 2 of 40 answers are no answers but messages")


def test_answers_that_were_cut_are_counted_beside_the_findings(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    path = write_run(tmp_path / "k4", 4)
    ends = AnswerEnds(40, 35, 0, 5, 0, 16).to_dict()
    edit_json(path, lambda content: content["moe_eval"][TASK].update(answers=ends))

    (note,) = computed(tmp_path).notes

    assert note == "k=4: 5 of 40 answers were cut at max_new_tokens=16."


def test_the_margin_is_in_points_of_a_hundred(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, wrong_every(20), rate=20)

    assert computed(tmp_path, 4.0).fastest == "k=8"
    assert computed(tmp_path, 6.0).fastest == "k=4"


def test_seconds_per_correct_answer_count_right_answers_alone(tmp_path: Path) -> None:
    write_run(tmp_path, 8, wrong_every(4), rate=10)

    (point,) = computed(tmp_path).points

    assert point.seconds_per_correct == pytest.approx(40 / 10 / 30)
    assert point.joules_per_correct is None
