"""Continuations as tokens: as they follow a prompt, without what begins or ends a text."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from moe_eval_plugin.engines.continuation import continuation_ids
from moe_eval_plugin.models.demo import MODEL_PATH

BEGIN, END = 0, 1


def tokenizer_with_a_space_before_each_text() -> Any:
    """A tokenizer like those of Llama: a text begins with a space, a begin and an end token."""
    words = ["<s>", "</s>", "▁ASSISTANT:", "yes", "▁yes", "▁no", "no", "▁"]
    pieces = [(word, -1.0) for word in words]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=BEGIN))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.mark.parametrize(("text", "pieces"), [("yes", ["yes"]), (" yes", ["▁yes"])])
def test_no_space_no_begin_and_no_end_is_added(text: str, pieces: list[str]) -> None:
    tokenizer = tokenizer_with_a_space_before_each_text()
    prompt = tokenizer("ASSISTANT:", add_special_tokens=False)["input_ids"]
    ids = continuation_ids(tokenizer, prompt, text)
    assert tokenizer.convert_ids_to_tokens(ids) == pieces
    assert prompt + ids == tokenizer(f"ASSISTANT:{text}", add_special_tokens=False)["input_ids"]


def test_a_tokenizer_of_bytes_gives_the_tokens_of_the_text_alone() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is it?"}], add_generation_prompt=True, return_dict=False
    )
    alone = tokenizer("circle red", add_special_tokens=False)["input_ids"]
    assert continuation_ids(tokenizer, prompt, "circle red") == alone
