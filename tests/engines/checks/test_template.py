"""Where the chat template of a checkpoint is found, and templates that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoProcessor, AutoTokenizer

from moe_eval_plugin.engines.checks.template import check_template, use_tokenizer_template
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.engines.transformers.processor import load_processor
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.demo import MODEL_PATH
from tests.models.weights.checkpoints import change_json, demo_copy, write

if TYPE_CHECKING:
    from pathlib import Path

FILE = "chat_template.jinja"
TEMPLATE = (MODEL_PATH / FILE).read_text("utf-8")
NAMED = [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": "x"}]


def loaded(folder: Path) -> Any:
    return load_processor(EngineOptions(str(folder)), str(folder), load_config(str(folder)))


@pytest.mark.parametrize("template", [TEMPLATE, NAMED])
def test_a_template_of_the_tokenizer_is_used(tmp_path: Path, template: object) -> None:
    change_json(demo_copy(tmp_path, FILE) / "tokenizer_config.json", chat_template=template)
    question = [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]
    rendered = [
        processor.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
        for processor in (loaded(tmp_path), loaded(MODEL_PATH))
    ]
    assert rendered[0] == rendered[1]


def test_a_template_in_the_older_file_is_used(tmp_path: Path) -> None:
    write(demo_copy(tmp_path, FILE) / "chat_template.json", {"chat_template": TEMPLATE})
    assert loaded(tmp_path).chat_template == TEMPLATE


def test_named_templates_without_a_default_are_listed(tmp_path: Path) -> None:
    named = [{"name": "rag", "template": TEMPLATE}]
    change_json(demo_copy(tmp_path, FILE) / "tokenizer_config.json", chat_template=named)
    with pytest.raises(UserError, match=r"several chat templates \(rag\), and none is called def"):
        loaded(tmp_path)


def test_an_image_needs_a_template(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no chat template"):
        loaded(demo_copy(tmp_path, FILE))


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(MODEL_PATH)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.role ", "TemplateSyntaxError"),
        ("{{ raise_exception('No conversations') }}", "No conversations"),
        ("{{ messages.nothing.more }}", "UndefinedError"),
        ("{% for m in messages %}{{ m.role + m.content }}{% endfor %}", "TypeError"),
        ("{% for m in messages %}{{ m.content[-1].text }}{% endfor %}", "leaves images out"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(
    processor: Any, template: str, message: str
) -> None:
    processor.chat_template = template
    with pytest.raises(UserError, match=f"chat template of some/model .*{message}"):
        check_template("some/model", processor, with_image=True)


def test_the_template_of_a_text_model_is_tried_too() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    tokenizer.chat_template = None
    use_tokenizer_template(tokenizer)
    check_template("some/model", tokenizer, with_image=False)
    tokenizer.chat_template = "{{ messages[0].role + messages[0].content }}"
    check_template("some/model", tokenizer, with_image=False)
    tokenizer.chat_template = "{{ messages[0].content[0].text }}"
    check_template("some/model", tokenizer, with_image=False)
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(UserError, match="cannot render a question: TemplateError: never"):
        check_template("some/model", tokenizer, with_image=False)
