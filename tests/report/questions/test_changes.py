"""Each kind of change, the draw of questions, and the setting that is shown first."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.questions.changes import (
    change_of,
    compare_answers,
    what_is_missing,
)
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.results.samples import Question
from tests.report.report_runs import computed, right, write_other_run, write_run, wrong_every

if TYPE_CHECKING:
    from pathlib import Path


def question(score: float, answer: str = "yes") -> Question:
    return Question("1", answer, "yes", None, "", {"score": score})


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (question(1.0), question(0.0, "no"), "lost"),
        (question(0.0, "no"), question(1.0), "gained"),
        # Both count as right, and points were lost all the same.
        (question(1.0), question(0.9, "yeah"), "lost"),
        (question(0.0, "no"), question(0.0, "red"), "same"),
        (question(1.0), question(1.0), None),
        # The mean of ten numbers depends on their order.
        (question(0.6), question(0.6000000000000001), None),
    ],
)
def test_a_change_is_of_the_score_or_else_of_the_answer(
    before: Question, after: Question, kind: str | None
) -> None:
    assert change_of(before, after, "score") == kind


def test_at_most_so_many_of_each_kind_are_shown_and_the_same_ones_at_each_k(
    tmp_path: Path,
) -> None:
    for k, step in ((8, 10), (4, 4), (2, 2)):
        write_run(tmp_path / f"k{k}", k, wrong_every(step))

    found = compare_answers(computed(tmp_path), 3)

    assert found is not None
    at_4, at_2 = found.settings
    assert at_4.point.label == "k=4"
    assert at_4.n_compared == 40
    # Of 40 questions, 0, 10, 20 and 30 are wrong at k=8; 10 and 30 are right at k=4.
    assert {kind: len(keys) for kind, keys in at_4.of_kind.items()} == {
        "lost": 8,
        "gained": 2,
        "same": 0,
    }
    assert sorted(at_4.shown.values()) == ["gained", "gained", "lost", "lost", "lost"]
    lost_at_2 = set(at_2.of_kind["lost"])
    assert set(at_4.of_kind["lost"]) < lost_at_2
    assert len(set(at_2.shown)) == 3


def test_the_recommended_setting_is_shown_first_or_else_the_next_below_the_published_k(
    tmp_path: Path,
) -> None:
    for k in (8, 6, 4, 2):
        write_run(tmp_path / f"k{k}", k, wrong_every(2) if k < 4 else right)
    numbers = computed(tmp_path)

    def start(recommended: str | None, candidate: str | None = None) -> str:
        found = compare_answers(
            replace(numbers, recommended=recommended, candidate=candidate), most=100
        )
        assert found is not None
        return found.start

    assert start("k=4") == "k=4"
    assert start(None, "k=2") == "k=2"
    assert start(None) == "k=6"


def test_questions_of_the_setting_that_is_shown_first_get_their_images_first(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, wrong_every(10))
    write_run(tmp_path / "k2", 2, wrong_every(5))
    numbers = replace(computed(tmp_path), recommended="k=4")

    found = compare_answers(numbers, most=100)

    assert found is not None
    assert set(found.shown[:4]) == {"0", "10", "20", "30"}
    assert len(found.shown) == 8


@pytest.mark.parametrize(
    ("ks", "samples", "missing"),
    [
        ((4,), True, "Of demo, the published k (k=8) was not run."),
        ((8,), True, "Of demo, only the published k (k=8) was run."),
        ((8, 4), False, "Of demo, the published k (k=8) was run without --log_samples."),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, ks: tuple[int, ...], samples: bool, missing: str
) -> None:
    for k in ks:
        write_run(tmp_path / f"k{k}", k, samples=samples)
    (series,) = read_series([tmp_path])

    assert what_is_missing(series) == missing


def test_a_model_without_k_is_said_to_be_one(tmp_path: Path) -> None:
    write_other_run(tmp_path)
    (series,) = read_series([tmp_path])

    assert re.search("is no run of moe_hf or moe_vllm", what_is_missing(series))
