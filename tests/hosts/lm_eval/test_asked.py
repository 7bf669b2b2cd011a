"""What lm-eval asks of a model: questions, requests, prompts, and what only pads a process."""

from __future__ import annotations

from lm_eval.api.instance import Instance
from lm_eval.api.model import CacheHook

from moe_eval_plugin.hosts.lm_eval.asked import (
    Answered,
    AnswerListener,
    AskedRequests,
    first_of_questions,
    positions_by_task,
)


def request(question: int, *texts: str, task: str = "a", repeats: int = 1) -> Instance:
    return Instance("loglikelihood", {}, texts, 0, (task, question, repeats))


def test_requests_are_sorted_by_task_without_those_that_pad() -> None:
    a, b, last = request(0, "x"), request(0, "y", task="b"), request(1, "z", repeats=2)
    asked = [a, b, last, last, last, last]
    assert positions_by_task(asked, n_ranks=2) == {"a": [0, 2, 3], "b": [1]}
    # A single process has no padding: a program may well ask the same again.
    assert positions_by_task(asked) == {"a": [0, 2, 3, 4, 5], "b": [1]}


def test_each_question_is_verified_with_its_first_request() -> None:
    asked = [request(0, "x", "1"), request(0, "x", "2"), request(1, "y", "1"), request(2, "z", "1")]
    assert first_of_questions(asked, 2) == [asked[0], asked[2]]
    assert len(first_of_questions(asked, 9)) == 3


def test_a_question_counts_with_the_last_of_its_requests() -> None:
    asked = AskedRequests([request(n, f"{n}", choice) for n in (0, 1) for choice in "ab"])
    asked.answered(("0", "a"))
    asked.answered(("1", "b"))
    assert asked.take() == Answered(n_requests=2, n_questions=0, n_prompt_tokens=0)
    asked.answered(("0", "b"))
    assert asked.take() == Answered(1, 1, 0)
    assert asked.take_rest() == Answered(1, 1, 0)
    assert asked.take_rest() == Answered(0, 0, 0)


def test_an_answer_to_another_request_is_not_counted() -> None:
    asked = AskedRequests([request(0, "x", "a")])
    asked.answered(("y", "a"))
    assert asked.take() == Answered(0, 0, 0)


def test_questions_of_other_kinds_of_requests_do_not_count_again() -> None:
    asked = AskedRequests([request(0, "x"), request(1, "y")], earlier={0})
    assert asked.take_rest() == Answered(2, 1, 0)


def test_each_distinct_prompt_counts_once_with_its_first_answer() -> None:
    asked = AskedRequests([request(0, "x", choice) for choice in "abc"])
    asked.reads(("x", "a"), [1, 2])
    asked.reads(("x", "b"), [1, 2])
    asked.reads(("x", "c"), [1, 2, 3])
    asked.answered(("x", "a"))
    asked.answered(("x", "b"))
    assert asked.take().n_prompt_tokens == 2
    assert asked.take_rest().n_prompt_tokens == 3


def test_parts_of_long_texts_count_when_they_are_read() -> None:
    asked = AskedRequests([request(0, "long text")])
    asked.reads(None, [1, 2])
    asked.reads(None, [1, 2])
    assert asked.take() == Answered(0, 0, 4)


def test_answers_reach_the_cache_of_the_host() -> None:
    asked, cache = AskedRequests([request(0, "x", "a"), request(1, "y", "a")]), CacheHook(None)
    cache.dbdict = {}
    AnswerListener(asked, cache).add_partial("loglikelihood", ("x", "a"), (0.5, True))
    AnswerListener(asked, None).add_partial("loglikelihood", ("y", "a"), (0.5, True))
    assert list(cache.dbdict.values()) == [(0.5, True)]
    assert asked.take().n_requests == 2
