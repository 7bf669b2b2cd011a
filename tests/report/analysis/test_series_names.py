"""Several series get letters, the same on every task, and the user may name them."""

from __future__ import annotations

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.report.analysis.series_names import (
    QUESTIONS,
    SeriesKey,
    series_ids,
    series_name,
)


def key(task: str, model: str, n: int, dtype: str = "bfloat16") -> SeriesKey:
    words = ((QUESTIONS, f"{n} questions"), ("in {}", f"in {dtype}"))
    return SeriesKey(task, "exact_match", model, words)


def test_a_model_has_the_same_letter_on_every_task_however_many_questions_it_has() -> None:
    keys = [key("a", "one", 500), key("a", "two", 500), key("b", "one", 90), key("b", "two", 90)]

    assert list(series_ids(keys, {}).values()) == ["A", "B", "A", "B"]


def test_runs_of_one_model_with_other_questions_have_letters_of_their_own() -> None:
    keys = [key("a", "one", 500), key("a", "one", 300)]

    assert list(series_ids(keys, {}).values()) == ["A", "B"]
    assert series_name(keys[1], keys) == "one, 300 questions"


def test_a_single_series_needs_no_letter() -> None:
    keys = [key("a", "one", 500), key("b", "one", 300)]

    assert set(series_ids(keys, {}).values()) == {""}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"C": "new"}, "there is no series C. Label one of A, B"),
        ({"A": "new", "B": "new"}, "the same name for two series"),
    ],
)
def test_a_label_is_for_a_letter_that_is_there_and_differs_from_the_others(
    labels: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        series_ids([key("a", "one", 1), key("a", "two", 1)], labels)
