"""Schedules and policies are judged against the uniform k of their price, on other questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.analysis.series_statistics import PriceVerdict
from moe_eval_plugin.report.answer.answer import answer
from moe_eval_plugin.report.answer.findings import findings
from tests.report.report_runs import (
    TASK,
    computed,
    one_per_image,
    records,
    right,
    write_manifest,
    write_run,
    wrong_every,
)
from tests.report.schedule_runs import SEARCHED, tuning_record, write_setting
from tests.results.timing.timed_files import around, timed_pass, write_timed_pass
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import EqualPrice, SeriesStatistics
    from moe_eval_plugin.vqa.dataset import Record

N = 300
QUESTIONS = one_per_image(N)
# Accuracies of the uniform k: 98%, 96% and 80%.
UNIFORM = {8: 50, 4: 25, 2: 5}


def wrong_at(numbers: range) -> Callable[[int, Record], str]:
    return lambda number, one: "wrong" if number in numbers else right(number, one)


def write_uniform(folder: Path) -> dict[str, Path]:
    return {
        f"k{k}": write_run(folder / f"k{k}", k, wrong_every(step), QUESTIONS)
        for k, step in UNIFORM.items()
    }


def row(numbers: SeriesStatistics, setting: str) -> EqualPrice:
    found = numbers.at_price_of(setting)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> SeriesStatistics:
    """Better, worse and not better than k=2, and a policy whose price is near that of k=4."""
    folder = tmp_path_factory.mktemp("priced")
    write_uniform(folder)
    write_setting(
        folder / "tuned", wrong_every(25), QUESTIONS, experts_k=SEARCHED, tuning=tuning_record()
    )
    write_setting(folder / "bad", wrong_every(2), QUESTIONS, experts_k="1/0:5", observed=1.9)
    write_setting(folder / "same", wrong_every(5), QUESTIONS, experts_k="1/3:5", observed=1.5)
    write_setting(folder / "p", wrong_every(25), QUESTIONS, policy="top_p:0.7", observed=4.07)
    write_setting(folder / "q", wrong_every(25), QUESTIONS, policy="top_p:0.8", observed=4.09)
    return computed(folder)


def test_the_kinds_and_the_labels_of_settings(numbers: SeriesStatistics) -> None:
    kinds = {one.point.label: one.point.kind for one in numbers.points}

    assert kinds == {
        "k=8": SettingKind.UNIFORM,
        "top_p:0.8": SettingKind.POLICY,
        "top_p:0.7": SettingKind.POLICY,
        "k=4": SettingKind.UNIFORM,
        "k=2": SettingKind.UNIFORM,
        "tuned-0.25": SettingKind.SEARCHED,
        "k=1/0:5": SettingKind.SCHEDULE,
        "k=1/3:5": SettingKind.SCHEDULE,
    }


@pytest.mark.parametrize(
    ("setting", "uniform", "verdict"),
    [
        ("tuned-0.25", "k=2", PriceVerdict.BETTER),
        ("k=1/0:5", "k=2", PriceVerdict.WORSE),
        ("k=1/3:5", "k=2", PriceVerdict.NOT_BETTER),
        # 4.07 is within 2% of 4, and 4.09 is not.
        ("top_p:0.7", "k=4", PriceVerdict.NOT_BETTER),
        ("top_p:0.8", "k=8", PriceVerdict.NOT_BETTER),
    ],
)
def test_each_is_compared_with_the_uniform_k_of_its_price(
    numbers: SeriesStatistics, setting: str, uniform: str, verdict: PriceVerdict
) -> None:
    found = row(numbers, setting)

    assert (found.uniform, found.verdict) == (uniform, verdict)
    assert found.share == pytest.approx(found.price / 8)
    # The p-values are adjusted for all five.
    assert found.n_comparisons == 5
    assert found.difference is not None
    assert found.difference.adjusted_p_value is not None
    assert found.difference.adjusted_p_value >= found.difference.p_value


def test_the_difference_is_paired_with_that_uniform_k(numbers: SeriesStatistics) -> None:
    found = row(numbers, "tuned-0.25").difference

    assert found is not None
    assert found.difference == pytest.approx(0.96 - 0.80)
    assert found.n_questions == N
    assert found.interval.low > 0
    assert row(numbers, "tuned-0.25").is_nearest
    assert not row(numbers, "top_p:0.8").is_nearest


def test_what_was_found_is_said_in_words(numbers: SeriesStatistics) -> None:
    texts = [one.text for one in findings(numbers) if one.kind == "price"]

    assert texts[0].startswith("At equal price (uniform k in brackets), better: tuned-0.25 (k=2);")
    assert "worse: k=1/0:5 (k=2)" in texts[0]
    # Single runs were timed once each, so nothing is said of which is faster.
    (policy,) = [text for text in texts if text.startswith("top_p:0.7 uses")]
    assert policy.startswith("top_p:0.7 uses 49% fewer experts, and is not shown to be faster")


def test_a_setting_without_a_uniform_k_of_its_price_is_not_judged(tmp_path: Path) -> None:
    write_run(tmp_path / "k2", 2, right, QUESTIONS)
    write_setting(tmp_path / "s", right, QUESTIONS, experts_k="3/0:5", observed=3.5)

    found = row(computed(tmp_path), "k=3/0:5")

    assert (found.uniform, found.verdict) == (None, PriceVerdict.NOTHING)
    assert found.reason == "run k=4 as well"


def test_a_smoke_test_judges_no_schedule(tmp_path: Path) -> None:
    few = one_per_image(20)
    for k, step in UNIFORM.items():
        write_run(tmp_path / f"k{k}", k, wrong_every(step), few)
    write_setting(tmp_path / "s", right, few, experts_k=SEARCHED)

    assert row(computed(tmp_path), f"k={SEARCHED}").reason == "smoke test"


def test_calibration_questions_are_left_out_for_every_setting(tmp_path: Path) -> None:
    # The schedule was chosen on the first 100, all of which it answers rightly.
    write_uniform(tmp_path)
    tuning = tuning_record(doc_ids=range(100))
    wrong = wrong_at(range(100, 140))
    write_setting(tmp_path / "s", wrong, QUESTIONS, experts_k=SEARCHED, tuning=tuning)

    found = computed(tmp_path)

    accuracy = {one.point.label: one.accuracy for one in found.points}
    assert accuracy["tuned-0.25"] == pytest.approx(1 - 40 / 200)
    assert accuracy["k=2"] == pytest.approx(0.8)
    assert {one.n_questions for one in found.points} == {200}
    facts = {one.point.label: one.point.first.facts for one in found.points}
    assert {one.n for one in facts.values()} == {200}
    assert {label: one.value for label, one in facts.items()} == pytest.approx(accuracy)
    difference = row(found, "tuned-0.25").difference
    assert difference is not None
    assert difference.n_questions == 200
    assert row(found, "tuned-0.25").verdict is PriceVerdict.NOT_BETTER
    assert "100 of 300 questions took part in choosing tuned-0.25" in found.notes[0]
    assert found.notes[0].endswith("the other 200, and only times are of all.")


def test_a_schedule_without_samples_has_no_verdict_and_the_page_says_why(tmp_path: Path) -> None:
    write_uniform(tmp_path)
    tuning = tuning_record(doc_ids=range(100))
    write_setting(
        tmp_path / "s", right, QUESTIONS, experts_k=SEARCHED, tuning=tuning, samples=False
    )

    found = computed(tmp_path)

    assert row(found, "tuned-0.25").verdict is PriceVerdict.NOTHING
    assert row(found, "tuned-0.25").reason.startswith("calibration questions not known")
    (note,) = [one for one in found.notes if "without samples it is not known" in one]
    assert note.startswith("tuned-0.25: ")
    counts = {one.point.label: one.n_questions for one in found.points}
    assert counts == {"k=8": 200, "k=4": 200, "k=2": 200, "tuned-0.25": N}


def test_questions_that_all_took_part_in_choosing_judge_nothing(tmp_path: Path) -> None:
    write_uniform(tmp_path)
    tuning = tuning_record(doc_ids=range(N))
    write_setting(tmp_path / "s", right, QUESTIONS, experts_k=SEARCHED, tuning=tuning)

    found = computed(tmp_path)

    assert all(one.difference is None for one in found.points)
    assert row(found, "tuned-0.25").verdict is PriceVerdict.NOTHING
    assert "none is left, so nothing is judged" in found.notes[0]
    assert {one.n_questions for one in found.points} == {N}
    assert found.recommended is None


def test_a_score_over_all_questions_at_once_keeps_its_number_of_questions(tmp_path: Path) -> None:
    paths = [*write_uniform(tmp_path).values()]
    tuning = tuning_record(doc_ids=range(100))
    paths.append(write_setting(tmp_path / "s", right, QUESTIONS, experts_k=SEARCHED, tuning=tuning))
    listed = [{"metric": name, "aggregation": "corpus"} for name in ("exact_match", "score")]
    for path in paths:
        edit_json(path, lambda content: content["configs"][TASK].update(metric_list=listed))

    found = computed(tmp_path)

    accuracy = {one.point.label: one.accuracy for one in found.points}
    assert accuracy["k=2"] == pytest.approx(0.8)
    assert {one.n_questions for one in found.points} == {N}
    assert {one.point.first.facts.n for one in found.points} == {N}
    difference = row(found, "tuned-0.25").difference
    assert difference is not None
    assert difference.n_questions == 200
    metric = found.series.metric
    assert found.notes[0].endswith(
        f"differences are those of the other 200. {metric} is that of all, since lmms-eval "
        "computed it over all questions at once, and so are the times."
    )
    assert not any("shared with the published k only" in note for note in found.notes)


def test_few_questions_that_are_left_are_few_whatever_the_score_is_of(tmp_path: Path) -> None:
    path = write_run(tmp_path / "k8", 8, right, records(60))
    tuning = tuning_record(doc_ids=range(40))
    tuned = write_setting(tmp_path / "s", right, records(60), experts_k=SEARCHED, tuning=tuning)
    listed = [{"metric": name, "aggregation": "corpus"} for name in ("exact_match", "score")]
    for one in (path, tuned):
        edit_json(one, lambda content: content["configs"][TASK].update(metric_list=listed))

    assert computed(tmp_path).smoke_test[0].startswith("20 questions (at least 50 ")


def test_two_schedules_of_one_name_stay_two_settings(tmp_path: Path) -> None:
    write_uniform(tmp_path)
    for name, schedule in (("a", SEARCHED), ("b", "1/0-1:3")):
        write_setting(tmp_path / name, right, QUESTIONS, experts_k=schedule, tuning=tuning_record())

    labels = {one.point.label for one in computed(tmp_path).points}

    assert labels >= {f"tuned-0.25 ({SEARCHED})", "tuned-0.25 (1/0-1:3)"}


FASTER = {"k8": around(4.0), "k2": around(2.0), "tuned-0.25": around(1.0)}
SLOWER = {"k8": around(1.0), "k2": around(0.9), "tuned-0.25": around(1.25)}


def timed(
    folder: Path, schedule: Callable[[int, Record], str], seconds: dict[str, Sequence[float]]
) -> SeriesStatistics:
    """Return a sweep of k=8 and k=2, which loses nothing, and a schedule, timed in blocks."""
    paths = {
        "k8": write_run(folder / "k8", 8, wrong_every(50), QUESTIONS),
        "k2": write_run(folder / "k2", 2, wrong_every(50), QUESTIONS),
        "tuned-0.25": write_setting(
            folder / "tuned-0.25",
            schedule,
            QUESTIONS,
            experts_k=SEARCHED,
            tuning=tuning_record(),
        ),
    }
    write_manifest(folder, paths)
    write_timed_pass(folder, timed_pass(seconds))
    return computed(folder)


def test_a_schedule_no_better_than_uniform_k_is_passed_over(tmp_path: Path) -> None:
    # It is the fastest within the margin by its rate, but no faster than k=2 by the intervals.
    scattered = [1.6, 2.2, 1.7, 2.3, 1.9, 1.5, 2.1, 2.4]
    seconds = {"k8": around(4.0), "k2": around(2.0), "tuned-0.25": scattered}
    found = timed(tmp_path, wrong_every(50), seconds)

    assert found.passed_over == "tuned-0.25"
    assert found.recommended == "k=2"
    told = answer(found)
    why = (
        "tuned-0.25 (searched schedule) is not recommended: it is not shown to be better than k=2, "
        "the uniform k of its price (0.00 points, p = 1.000), and not shown to be faster."
    )
    assert why in told.reason
    assert why in told.sentence
    assert told.deployment == ""


def test_a_schedule_that_is_faster_than_its_uniform_k_is_recommended(tmp_path: Path) -> None:
    found = timed(tmp_path, wrong_every(50), FASTER)

    speed = row(found, "tuned-0.25").speed
    assert speed is not None
    assert speed.ratio == pytest.approx(2.0)
    told = answer(found)
    assert (told.recommended, told.kind) == ("tuned-0.25", "searched schedule")
    assert told.headline == "Use tuned-0.25 instead of k=8"
    assert ", and 2.00× (2.00 to 2.00) as fast." in told.reason
    assert told.price_share == pytest.approx(0.25)
    command = f"moe-eval schedule export {SEARCHED} --for all --model demo"
    assert told.deployment == f"To deploy it: {command}"


def test_fewer_experts_that_take_more_time_are_called_slower(tmp_path: Path) -> None:
    found = timed(tmp_path, wrong_every(50), SLOWER)

    (text,) = [one.text for one in findings(found) if "fewer experts" in one.text]
    assert text.startswith("tuned-0.25 uses 75% fewer experts and takes 25% more time than k=8 (")
    assert found.recommended == "k=2"


@pytest.mark.parametrize(
    ("setting", "is_doubted"),
    [({"experts_k": SEARCHED}, True), ({"policy": "threshold:0.3", "observed": 5.0}, False)],
)
def test_a_policy_may_take_longer_with_fewer_experts_because_it_decides(
    tmp_path: Path, setting: dict[str, Any], is_doubted: bool
) -> None:
    paths = {
        "k8": write_run(tmp_path / "k8", 8, right, QUESTIONS),
        "other": write_setting(tmp_path / "other", right, QUESTIONS, **setting),
    }
    write_manifest(tmp_path, paths)
    write_timed_pass(tmp_path, timed_pass({"k8": around(1.0), "other": around(1.25)}))

    doubts = [text for text in computed(tmp_path).warnings if "less work" in text]

    assert bool(doubts) is is_doubted


def test_a_prediction_is_that_of_the_search_where_it_counts_time(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8, right, QUESTIONS)
    record = tuning_record(unit="time", price=0.5)
    write_setting(tmp_path / "s", right, QUESTIONS, experts_k=SEARCHED, tuning=record)

    found = computed(tmp_path)

    (one,) = [each for each in found.points if each.point.tuning]
    assert found.predicted_speed_up(one) == pytest.approx(2.0)
