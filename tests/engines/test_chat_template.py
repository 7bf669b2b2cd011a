"""Chat templates: what they read, what they refuse, and which tokens surround them."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoProcessor, AutoTokenizer

from moe_eval_plugin.engines.chat_template import ChatTemplate
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.engines.transformers.stopping import decoded
from moe_eval_plugin.engines.vllm.options import VLLMOptions
from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.measure.answer_ends import REASONING_TAGS
from moe_eval_plugin.models.demo import MODEL_PATH

MESSAGES = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
BEGIN = "{% if add_generation_prompt %}assistant: {% endif %}"
THINKS = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
REFUSES_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
)
IGNORES_SYSTEM = MESSAGES.replace("{% for m in messages %}", "{% for m in messages[-1:] %}")


def template(text: str | None, **arguments: object) -> ChatTemplate:
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL_PATH)
    tokenizer.chat_template = text
    return ChatTemplate(tokenizer, "tiny", arguments)


@pytest.mark.parametrize(
    ("given", "enable_thinking", "expected"),
    [
        (None, None, {}),
        (None, "false", {"enable_thinking": False}),
        (
            '{"enable_thinking": false, "level": [1, 2]}',
            None,
            {"enable_thinking": False, "level": [1, 2]},
        ),
        ({"effort": "low"}, True, {"effort": "low", "enable_thinking": True}),
        ('{"enable_thinking": false}', "no", {"enable_thinking": False}),
    ],
)
def test_arguments_come_from_json_from_a_mapping_and_from_the_short_form(
    given: object, enable_thinking: object, expected: dict[str, Any]
) -> None:
    options = {"chat_template_kwargs": given, "enable_thinking": enable_thinking}
    assert EngineOptions("demo", **options).template_arguments == expected
    assert VLLMOptions("demo", **options).template_arguments == expected


@pytest.mark.parametrize("given", ["think", "[1]", "{}", "{'a': 1}", '{"a": 1, "a": 2}', 3, "null"])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="chat_template_kwargs"):
        EngineOptions("demo", chat_template_kwargs=given)


def test_the_short_form_is_a_boolean_and_does_not_contradict_the_mapping() -> None:
    given: Any = '{"enable_thinking": true}'
    with pytest.raises(InvalidArgumentError, match="contradict each other"):
        EngineOptions("demo", chat_template_kwargs=given, enable_thinking=False)
    wrong: Any = "maybe"
    with pytest.raises(InvalidArgumentError, match="enable_thinking=maybe is not possible"):
        VLLMOptions("demo", enable_thinking=wrong)


def test_an_argument_changes_the_prompt() -> None:
    question = [{"role": "user", "content": "What?"}]
    text = MESSAGES + BEGIN + THINKS
    assert template(text).render(question) == "user: What?\nassistant: "
    assert template(text, enable_thinking=False).render(question).endswith("<think></think>")


@pytest.mark.parametrize("name", ["thinking", "messages", "tokenize", "eos_token", "namespace"])
def test_an_argument_that_the_template_does_not_read_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"does not read {name}.*reads these: enable_"):
        template(MESSAGES + THINKS + "{{ eos_token }}", **{name: True}).check()


def test_an_argument_without_any_template_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="has no chat template, so enable_thinking"):
        template(None, enable_thinking=False).check()


def test_a_template_may_mark_what_the_model_generates_and_set_a_default() -> None:
    text = "{% set effort = effort | default(1) %}{% generation %}{{ effort }}{% endgeneration %}"
    found = template(text, effort=2)
    found.check()
    assert found.variables == {"effort"}


def test_a_system_prompt_is_refused_where_the_template_refuses_or_ignores_it() -> None:
    template(MESSAGES).check("Be brief.")
    template(REFUSES_SYSTEM + MESSAGES).check(None)
    with pytest.raises(UserError, match=r"refuses .* system, user: System role not supported\. L"):
        template(REFUSES_SYSTEM + MESSAGES).check("Be brief.")
    with pytest.raises(UserError, match="ignores system messages"):
        template(IGNORES_SYSTEM).check("Be brief.")


@pytest.mark.parametrize(
    ("begin", "expected"), [("", True), ("{{ bos_token }}", False), ("<|endoftext|>", False)]
)
def test_a_processor_adds_special_tokens_unless_the_template_begins_with_one(
    begin: str, *, expected: bool
) -> None:
    processor: Any = AutoProcessor.from_pretrained(MODEL_PATH)
    (token,) = ("<|endoftext|>",)
    processor.tokenizer.bos_token = token
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{token} $A", special_tokens=[(token, 0)]
    )
    processor.chat_template = begin + processor.chat_template
    assert ChatTemplate(processor, "tiny").adds_special_tokens is expected


def test_a_tokenizer_adds_no_special_tokens_to_a_template() -> None:
    assert not template(MESSAGES).adds_special_tokens
    assert not ChatTemplate(AutoProcessor.from_pretrained(MODEL_PATH), "demo").adds_special_tokens


def test_tags_that_are_special_tokens_stay_in_the_text() -> None:
    found = template(MESSAGES)
    assert found.special_tags == frozenset()
    tokenizer = found.processor
    ids = tokenizer("red", add_special_tokens=False)["input_ids"]
    tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)
    begin, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    kept = ChatTemplate(tokenizer, "tiny").special_tags
    assert kept == {begin, end}
    answer = [begin, *ids, end, *ids, tokenizer.eos_token_id]
    assert decoded(tokenizer, [answer], kept) == ["<think>red</think>red"]
    assert decoded(tokenizer, [answer], frozenset()) == ["redred"]


@pytest.mark.parametrize(
    ("begin", "opened"),
    [
        ("<think>\n", ("<think>", "</think>")),
        ("<think>\n\n</think>\n\n", None),
        ("", None),
        ("◁think▷", ("◁think▷", "◁/think▷")),
    ],
)
def test_a_template_may_open_the_thought_itself(begin: str, opened: tuple[str, str] | None) -> None:
    hint = "Write <think> before you think.\n"
    text = hint + MESSAGES + "{% if add_generation_prompt %}assistant: " + begin + "{% endif %}"
    assert template(text).opened_thought(REASONING_TAGS) == opened
    assert template(None).opened_thought(REASONING_TAGS) is None
