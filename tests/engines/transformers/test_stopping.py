"""Stop strings: found in every place where they can stand, and looked for only where they can."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from moe_eval_plugin.engines.generation import truncate_before
from moe_eval_plugin.engines.transformers.stopping import (
    StopStringCriteria,
    StopStrings,
    truncate_after_end,
)
from moe_eval_plugin.models.demo import MODEL_PATH

TOKENIZER = AutoTokenizer.from_pretrained(MODEL_PATH)
STRINGS = ["\n\n", "\n", "ed", "é", "yes ", "."]


def first_end(tokenizer: Any, answer: list[int], strings: list[str]) -> list[int]:
    """Decode all of each beginning of the answer, as the definition says."""
    for n_tokens in range(1, len(answer) + 1):
        text = tokenizer.decode(answer[:n_tokens], skip_special_tokens=True)
        if any(string in text for string in strings):
            return answer[:n_tokens]
    return answer


@given(
    st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=24),
    st.lists(st.sampled_from(STRINGS), min_size=1, max_size=3, unique=True),
)
def test_an_answer_is_cut_where_its_text_first_holds_a_stop_string(
    answer: list[int], strings: list[str]
) -> None:
    stops = StopStrings(TOKENIZER, strings)
    assert stops.truncate_after(answer) == first_end(TOKENIZER, answer, strings)


@given(
    st.text(alphabet="ab\n é😀.", max_size=12), st.sampled_from(["\n\n", "é", "😀", "b\n", "a "])
)
def test_stop_strings_of_several_tokens_are_found(text: str, string: str) -> None:
    answer = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    stops = StopStrings(TOKENIZER, [string])
    assert stops.truncate_after(answer) == first_end(TOKENIZER, answer, [string])


def test_a_space_before_a_word_counts_though_a_word_alone_is_shown_without_it() -> None:
    tokenizer = Tokenizer(models.WordLevel({"▁yes": 0, "▁no": 1}))
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    assert fast.decode([0]) == "yes"
    assert StopStrings(fast, ["yes "]).truncate_after([0, 1, 1]) == [0, 1]


def test_rows_end_apart_and_the_prompt_is_not_looked_at() -> None:
    newline, word = (TOKENIZER(t, add_special_tokens=False)["input_ids"] for t in ("\n", "red"))
    assert len(newline) == 1
    prompt = [*word, *newline]
    criterion = StopStringCriteria(StopStrings(TOKENIZER, ["\n\n"]), n_skipped=len(prompt))
    once, twice = [*prompt, *word[:1], *newline], [*prompt, *newline, *newline]
    assert criterion(torch.tensor([once, twice]), None).tolist() == [False, True]
    assert criterion(torch.tensor([[*prompt, *newline]]), None).tolist() == [False]


class Counting:
    """A tokenizer that counts how often it decodes."""

    def __init__(self) -> None:
        self.n_decoded = 0

    def decode(self, *args: Any, **kwargs: Any) -> str:
        self.n_decoded += 1
        return TOKENIZER.decode(*args, **kwargs)


def test_an_answer_is_decoded_only_where_a_stop_string_can_end() -> None:
    counting = Counting()
    stops = StopStrings(counting, ["\n\n"])
    answer = TOKENIZER("red circle", add_special_tokens=False)["input_ids"]
    stops.truncate_after(answer)
    assert counting.n_decoded == len(set(answer))
    stops.truncate_after(answer * 10)
    assert counting.n_decoded == len(set(answer))
    stops.truncate_after(TOKENIZER("\n", add_special_tokens=False)["input_ids"])
    assert counting.n_decoded == len(set(answer)) + 2


@pytest.mark.parametrize(
    ("until", "left"), [([], "a\n\nb"), (["\n\n"], "a"), (["b", "\n"], "a"), (["", "c"], "a\n\nb")]
)
def test_a_text_is_cut_before_the_first_stop_string(until: list[str], left: str) -> None:
    assert truncate_before("a\n\nb", until) == left


@pytest.mark.parametrize(("ends", "left"), [(set(), [3, 2, 2]), ({2}, [3, 2]), ({9}, [3, 2, 2])])
def test_tokens_are_cut_after_the_first_end_token(ends: set[int], left: list[int]) -> None:
    assert truncate_after_end([3, 2, 2], ends) == left


@pytest.mark.parametrize(
    ("until", "left"), [([], "a\n\nb"), (["\n\n"], "a"), (["b", "\n"], "a"), (["", "c"], "a\n\nb")]
)
def test_cut_at(until: list[str], left: str) -> None:
    assert truncate_before("a\n\nb", until) == left
