"""The simulations of ``benchmarks/simulated_answers.py`` keep what the page on statistics says."""

from __future__ import annotations

import pytest

from benchmarks.simulated_answers import CASES, coverage

N_RUNS = 120


def test_without_made_up_questions_most_intervals_of_a_rare_fault_miss_the_truth() -> None:
    plain, own = coverage(CASES["100 questions, 99.5% right"], N_RUNS, seed=1)

    assert plain < 0.55
    assert own > 0.85


@pytest.mark.parametrize("name", list(CASES))
def test_intervals_hold_the_truth_about_as_often_as_they_say(name: str) -> None:
    _plain, own = coverage(CASES[name], N_RUNS, seed=1)

    assert 0.85 <= own <= 1.0


def test_a_change_in_few_answers_needs_the_made_up_questions_too() -> None:
    plain, own = coverage(CASES["500 pairs, 0.2% gained and 0.4% lost"], N_RUNS, seed=1)

    assert plain < 0.93
    assert own > 0.95
