"""Prompts as tokens: those of the model's chat template, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.testing import tiny_moe

if TYPE_CHECKING:
    from pathlib import Path

CONVERSATION = [{"role": "user", "content": "Is it red?"}]
OF_TEMPLATE = "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
BEGIN, END = "<|endoftext|>", "<|im_end|>"


def text_engine(folder: Path, template: str | None, single: str) -> HFEngine:
    """An engine whose tokenizer adds special tokens around a text (``$A``) as ``single`` says."""
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL_PATH)
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (BEGIN, END)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=single, special_tokens=special
    )
    tokenizer.bos_token, tokenizer.chat_template = BEGIN, template
    tokenizer.save_pretrained(folder)
    tiny_moe(vocab_size=len(tokenizer)).save_pretrained(folder)
    return HFEngine(EngineOptions(str(folder), experts_k=1))


def ids_of(engine: HFEngine, conversation: list[dict[str, Any]]) -> list[int]:
    encoded = engine.encode([conversation])
    ids: list[int] = encoded.tensors["input_ids"][0].tolist()
    assert encoded.n_input_tokens == (len(ids),)
    return ids


@pytest.mark.parametrize("template", [OF_TEMPLATE, "{{ bos_token }}" + OF_TEMPLATE])
@pytest.mark.parametrize("single", [f"{BEGIN} $A", f"$A {END}", "$A"])
def test_a_rendered_template_gets_no_special_tokens_of_the_tokenizer(
    tmp_path: Path, template: str, single: str
) -> None:
    engine = text_engine(tmp_path, template, single)
    expected = engine.tokenizer.apply_chat_template(CONVERSATION, return_dict=False)
    assert ids_of(engine, CONVERSATION) == expected
    assert expected.count(engine.tokenizer.bos_token_id) == template.count("bos_token")


def test_a_prompt_without_a_template_gets_the_special_tokens_of_the_tokenizer(
    tmp_path: Path,
) -> None:
    engine = text_engine(tmp_path, None, f"{BEGIN} $A")
    assert ids_of(engine, CONVERSATION) == engine.tokenizer("Is it red?")["input_ids"]
    assert ids_of(engine, CONVERSATION)[0] == engine.tokenizer.bos_token_id
