"""Find the chat template of a checkpoint, and try it before weights are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

QUESTION = "What is in the picture?"
TEXT = {"type": "text", "text": QUESTION}
# Only its place in the prompt is looked at, and no file is read.
IMAGE = {"type": "image", "image": "picture.png"}
FAILURES = (TemplateError, TypeError, ValueError, KeyError, AttributeError)
NEXT_STEP = (
    "Compare chat_template.jinja with the published one, or use the instruction-tuned checkpoint "
    "of this model."
)


def use_tokenizer_template(processor: Any) -> None:  # noqa: ANN401  (one of many classes)
    """Set the tokenizer's chat template for a processor without one, as vLLM does.

    Checkpoints older than ``chat_template.jinja`` have it in ``tokenizer_config.json``.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is not None and not getattr(processor, "chat_template", None):
        processor.chat_template = getattr(tokenizer, "chat_template", None)


def check_template(
    pretrained: str,
    processor: Any,  # noqa: ANN401  (one of many classes)
    arguments: Mapping[str, Any] | None = None,
    *,
    with_image: bool,
) -> None:
    """Render a question with the chat template; ``UserError`` if it fails or drops the image.

    ``arguments`` are the user's for the template. Without an image, a checkpoint without a template
    passes: its prompts are the bare text.
    """
    template = getattr(processor, "chat_template", None)
    if isinstance(template, dict) and "default" not in template:
        message = (
            f"{pretrained} has several chat templates ({', '.join(template) or 'none'}), and none "
            "is called default. Copy the one to use to chat_template.jinja in its folder."
        )
        raise UserError(message)
    if not template and not with_image:
        return
    if not template:
        message = (
            f"{pretrained} has no chat template, so the position of images in its prompts is "
            "unknown. Use the instruction-tuned checkpoint of this model."
        )
        raise UserError(message)
    try:
        is_used = (
            _shows_image(processor, arguments) if with_image else _is_rendered(processor, arguments)
        )
    except FAILURES as error:
        message = (
            f"The chat template of {pretrained} cannot render a question"
            f"{' with an image' if with_image else ''}: {type(error).__name__}: "
            f"{one_line(error)}. {NEXT_STEP}"
        )
        raise UserError(message) from error
    if not is_used:
        message = f"The chat template of {pretrained} leaves images out of its prompts. {NEXT_STEP}"
        raise UserError(message)


def check_vocabulary(pretrained: str, tokenizer: Any) -> None:  # noqa: ANN401
    """Raise ``UserError`` for a tokenizer that transformers made up, because no file has one."""
    if len(set(tokenizer(QUESTION, add_special_tokens=False)["input_ids"])) > 1:
        return
    message = (
        f"The tokenizer of {pretrained} has no vocabulary: its files (tokenizer.json, or "
        "tokenizer.model, or vocab.json and merges.txt) are not there or empty. Download them: "
        "hf download MODEL --local-dir FOLDER."
    )
    raise UserError(message)


def _shows_image(processor: Any, arguments: Mapping[str, Any] | None) -> bool:  # noqa: ANN401
    """Whether a prompt with an image is another one than without it."""
    with_image = _render(processor, [IMAGE, TEXT], arguments)
    return with_image != _render(processor, [TEXT], arguments)


def _is_rendered(processor: Any, arguments: Mapping[str, Any] | None) -> bool:  # noqa: ANN401
    """Render a question as text, or else in parts: some templates take one of the two."""
    try:
        _render(processor, QUESTION, arguments)
    except FAILURES:
        _render(processor, [TEXT], arguments)
    return True


def _render(
    processor: Any,  # noqa: ANN401
    content: str | list[dict[str, str]],
    arguments: Mapping[str, Any] | None,
) -> str:
    return str(
        processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=False,
            **(arguments or {}),
        )
    )
