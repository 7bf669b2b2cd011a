"""The numbers of a report are those of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.measure.answer_ends import AnswerEnds
from moe_eval_plugin.report.analysis.statistics import at_margin
from moe_eval_plugin.stats import SpeedRatio
from tests.report.report_runs import (
    TASK,
    computed,
    in_provenance,
    records,
    write_other_run,
    write_run,
    write_sweep,
    wrong_every,
)
from tests.results.run_files import FAILURES
from tests.results.timing.timed_files import around, timed_pass, write_timed_pass
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

    assert [one.speed_up for one in numbers.points] == [
        SpeedRatio(1.0, None, None),
        SpeedRatio(1.5, None, None),
    ]
    assert [one.on_front for one in numbers.points] == [False, True]


def test_speeds_are_those_of_the_timed_pass_of_the_sweep(tmp_path: Path) -> None:
    answers = {8: wrong_every(10), 4: wrong_every(10)}
    write_sweep(tmp_path, answers, {"k8": around(4), "k4": around(2)})

    baseline, other = computed(tmp_path).points

    assert (baseline.batch_size, other.batch_size) == (4, 4)
    assert (baseline.samples_per_s, other.samples_per_s) == pytest.approx((1, 2), rel=0.01)
    assert other.throughput is not None
    assert other.throughput.median == 10
    assert other.speed_up is not None
    assert other.speed_up.ratio == pytest.approx(2)
    assert other.speed_up.interval is not None
    assert other.speed_up.n_pairs == 8
    assert other.timed[4].model_speed_up is not None
    assert other.seconds_per_correct == pytest.approx(0.5 / 0.9, rel=0.01)
    assert other.measured(lambda speed: speed.mean_output_tokens) == 2


def test_a_setting_that_was_not_timed_with_the_others_has_no_speed(tmp_path: Path) -> None:
    answers = {8: wrong_every(10), 4: wrong_every(10), 2: wrong_every(10)}
    write_sweep(tmp_path, answers, {"k8": around(4), "k4": around(2)})

    *_, late = computed(tmp_path).points

    assert (late.samples_per_s, late.speed_up, late.seconds_per_correct) == (None, None, None)


def test_the_batch_size_of_the_answers_is_shown_first_and_else_the_largest(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: wrong_every(10), 4: wrong_every(10)})
    sizes = []
    for size in (4, 1, 16):
        seconds = {"k8": around(size), "k4": around(size / 2)}
        write_timed_pass(tmp_path, timed_pass(seconds, batch_size=size))
        sizes.append(computed(tmp_path).points[1].batch_size)

    assert sizes == [4, 4, 16]
    assert set(computed(tmp_path).points[1].timed) == {1, 4, 16}
    for k in (8, 4):
        (path,) = (tmp_path / f"k{k}").glob("*_results.json")
        edit_json(path, in_provenance("batch_size", 1))
    assert computed(tmp_path).points[1].batch_size == 1


def test_runs_of_six_seeds_are_pairs_and_give_an_interval(tmp_path: Path) -> None:
    for seed in range(6):
        for k, rate in ((8, 10 + seed), (4, 15 + 1.5 * seed)):
            path = write_run(tmp_path / f"k{k}-seed{seed}", k, rate=rate)
            edit_json(path, in_provenance("seed", seed))

    ratio = computed(tmp_path).points[1].speed_up

    assert ratio is not None
    assert ratio.n_pairs == 6
    assert ratio.interval is not None
    assert (ratio.interval.low, ratio.interval.high) == pytest.approx((1.5, 1.5))


def test_rates_of_questions_that_shared_images_are_no_speeds(tmp_path: Path) -> None:
    for k in (8, 4):
        path = write_run(tmp_path / f"k{k}", k, rate=80 / k)
        edit_json(path, lambda content: content["moe_eval"][TASK]["speed"].update(is_shared=True))

    point = computed(tmp_path).points[1]

    assert (point.speed_up, point.seconds_per_correct) == (None, None)
    assert point.throughput is not None
    assert point.throughput.median == 20


def test_several_runs_of_a_setting_are_one_point_with_the_median_of_their_rates(
    tmp_path: Path,
) -> None:
    for number, rate in enumerate((10, 30, 20)):
        write_run(tmp_path / f"run-{number}", 8, wrong_every(10 * (number + 1)), rate=rate)

    (point,) = computed(tmp_path).points

    rates = point.throughput
    assert rates is not None
    assert (rates.median, rates.smallest, rates.largest) == (20, 10, 30)
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
    assert (point.difference, point.throughput, point.n_images) == (None, None, None)


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
    write_sweep(tmp_path, {8: wrong_every(20), 4: wrong_every(10)})

    assert computed(tmp_path, 4.0).candidate is None
    assert computed(tmp_path, 6.0).candidate == "k=4"


def test_another_margin_gives_what_computing_with_it_gives(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: wrong_every(20), 4: wrong_every(10)})

    assert at_margin(computed(tmp_path, 4.0), 6.0) == computed(tmp_path, 6.0)
    assert at_margin(computed(tmp_path, 4.0), 6.0) != computed(tmp_path, 4.0)


def test_seconds_per_correct_answer_count_right_answers_alone(tmp_path: Path) -> None:
    write_run(tmp_path, 8, wrong_every(4), rate=10)

    (point,) = computed(tmp_path).points

    assert point.seconds_per_correct == pytest.approx(40 / 10 / 30)
    assert point.joules_per_correct is None
