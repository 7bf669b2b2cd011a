"""One answer for each series: the setting, its numbers, and the same words everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.report.analysis.statistics import at_margin
from moe_eval_plugin.report.answer.answer import answer
from moe_eval_plugin.report.answer.findings import findings
from tests.report.report_runs import computed, write_other_run, write_run, write_sweep, wrong_every
from tests.results.timing.timed_files import around

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.vqa.dataset import Record

USUAL = wrong_every(10)


def a_little_worse(number: int, record: Record) -> str:
    """Answer four of 200 questions more wrongly than ``USUAL``."""
    return "a wrong answer" if number in (1, 2, 3, 4) else USUAL(number, record)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SeriesStatistics:
    seconds = {"k8": around(4), "k4": around(2), "k2": around(1)}
    answers = {8: USUAL, 4: a_little_worse, 2: wrong_every(2)}
    return computed(write_sweep(tmp_path_factory.mktemp("sweep"), answers, seconds), 5.0)


def test_an_answer_has_the_numbers_of_the_setting_to_use(sweep: SeriesStatistics) -> None:
    found = answer(sweep)

    assert (found.series, found.task, found.margin_points) == ("demo", "easy_vqa", 5.0)
    assert (found.baseline, found.recommended, found.setting, found.k) == ("k=8", "k=4", "k=4", 4)
    assert (found.accuracy, found.baseline_accuracy) == pytest.approx((88, 90))
    assert found.loss_points == pytest.approx(2)
    assert found.loss_interval is not None
    assert -1 < found.loss_interval[0] < 2 < found.loss_interval[1] < 5
    assert found.n_questions == 200
    assert found.speed_up is not None
    assert found.speed_up.ratio == pytest.approx(2)
    assert found.questions_per_s == pytest.approx(2 * (found.baseline_questions_per_s or 0))
    assert (found.observed_k, found.n_layers) == (4, 4)
    assert found.certain
    assert found.headline == "Use k=4 instead of 8"
    assert found.reason == "The fastest setting that is shown to lose no more than 5 points."


def test_the_findings_say_it_in_the_same_sentence(sweep: SeriesStatistics) -> None:
    assert next(findings(sweep)).text == answer(sweep).sentence


@pytest.mark.parametrize(
    ("margin", "headline", "values"),
    [
        (60, "Use k=2 instead of 8", ("k=2", "k=2", 2, True)),
        (5, "Use k=4 instead of 8", ("k=4", "k=4", 4, True)),
        (2.5, "No recommendation yet: k=4 may be enough", (None, "k=4", None, False)),
        (1e-6, "No recommendation", (None, None, None, False)),
    ],
)
def test_another_margin_has_another_answer(
    sweep: SeriesStatistics, margin: float, headline: str, values: tuple[Any, ...]
) -> None:
    found = answer(at_margin(sweep, margin))

    assert found.headline == headline
    assert (found.recommended, found.setting, found.k, found.certain) == values
    assert found.margin_points == pytest.approx(margin)


def test_where_all_others_lose_more_the_published_k_is_kept(tmp_path: Path) -> None:
    found = answer(computed(write_sweep(tmp_path, {8: USUAL, 2: wrong_every(2)})))

    assert (found.headline, found.certain) == ("Keep k=8", True)
    assert (found.recommended, found.setting) == (None, None)


def test_what_was_timed_once_may_be_faster(tmp_path: Path) -> None:
    found = answer(computed(write_sweep(tmp_path, {8: USUAL, 4: USUAL})))

    assert found.headline == "No recommendation yet: k=4 may be faster"
    assert found.reason == "k=4 is within 1 point, but its speed-up, 2.00×, was timed once."
    assert not found.certain


def test_without_a_baseline_it_is_said_what_to_run(tmp_path: Path) -> None:
    found = answer(computed(write_sweep(tmp_path, {4: USUAL, 2: USUAL})))

    assert found.headline == "No recommendation without a baseline"
    assert found.reason.startswith("No baseline: run the published k (k=8) as well")
    assert (found.baseline, found.accuracy, found.loss_points) == (None, None, None)


def test_a_single_setting_is_compared_with_nothing(tmp_path: Path) -> None:
    found = answer(computed(write_sweep(tmp_path, {8: USUAL})))

    assert found.sentence == "No recommendation: no other setting was compared with k=8."
    assert found.baseline_accuracy == pytest.approx(90)


def test_a_smoke_test_has_no_conclusion(tmp_path: Path) -> None:
    write_run(tmp_path, 8)

    found = answer(computed(tmp_path))

    assert found.headline == "Smoke test: no conclusion"
    assert found.reason.startswith("40 questions on 4 images (at least 50 images are needed); k=8")
    assert not found.certain


def test_a_model_of_another_adapter_has_no_k(tmp_path: Path) -> None:
    write_other_run(tmp_path)

    found = answer(computed(tmp_path))

    assert (found.k, found.observed_k, found.n_layers) == (None, None, None)
