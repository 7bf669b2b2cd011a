"""Answers by how they ended, from their texts and from what the engine says."""

from __future__ import annotations

import pytest

from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.answer_ends import (
    REASONING_TAGS,
    AnswerEndCounter,
    AnswerEnds,
    EndedBy,
    ends_in_thought,
    joined_ends,
)

THINK = ("<think>", "</think>")


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("<think>\nGot it, let me look", None, True),
        ("<think>\nIt is red.</think>\nred", None, False),
        ("<think>a</think> so <think>b", None, True),
        ("<think>It is red.</thi", None, True),
        ("<analysis>It is", None, True),
        ("◁think▷It is", None, True),
        ("red", None, False),
        ("", None, False),
        ("Got it, let me look", THINK, True),
        ("Got it. </think> red", THINK, False),
        ("", THINK, True),
        ("is a < b?", None, False),
    ],
)
def test_a_thought_that_is_not_closed_is_found_in_the_text(
    text: str, opened: tuple[str, str] | None, *, expected: bool
) -> None:
    assert ends_in_thought(text, REASONING_TAGS, opened) is expected


def counted(*answers: tuple[str, EndedBy | None, int]) -> AnswerEnds:
    counter = AnswerEndCounter()
    for text, ended_by, limit in answers:
        counter.add("a", text, ended_by, limit)
    return counter.result()["a"]


def test_answers_are_counted_by_what_ended_them() -> None:
    ends = counted(
        ("red", "end_token", 16),
        ("red or", "token_limit", 16),
        ("<think>it", "token_limit", 16),
        ("<think>it", "stop_string", 16),
        ("red", None, 16),
    )
    assert ends == AnswerEnds(5, 1, 1, 2, 2, 16)
    assert AnswerEnds.from_dict(JsonObject(ends.to_dict())) == ends


def test_processes_are_added_up() -> None:
    one, other = counted(("red", "end_token", 16)), counted(("<think>", "token_limit", 8))
    assert joined_ends([{"a": one}, {"a": other}, {}], "a") == AnswerEnds(2, 1, 0, 1, 1, None)
    assert joined_ends([{"a": one}], "b") is None


def test_the_warning_is_about_the_worst() -> None:
    thought, cut = ("<think>it", "token_limit", 16), ("red or", "token_limit", 16)
    assert counted(("red", "end_token", 16)).warning is None
    warning = str(counted(thought, thought, ("red", "end_token", 16)).warning)
    assert "2 of 3 answers end inside a thought at max_new_tokens=16: what is" in warning
    assert "--gen_kwargs max_new_tokens=NUMBER, or" in warning
    assert "enable_thinking=false" in warning
    warning = str(counted(("<think>it", "stop_string", 16)).warning)
    assert "1 answers ended at a stop string." in warning
    assert "max_new_tokens=NUMBER,until=TEXT" in warning
    warning = str(counted(cut, ("red or", "token_limit", 8)).warning)
    assert warning.startswith("2 of 2 answers were cut at their token limit: what is scored")
    assert "thought" not in warning


def test_one_answer_was_cut_and_two_were() -> None:
    cut, whole = ("red or", "token_limit", 16), ("red", "end_token", 16)
    assert counted(cut, whole).cut == "1 of 2 answers was cut at max_new_tokens=16"
    assert counted(cut, cut).cut == "2 of 2 answers were cut at max_new_tokens=16"
