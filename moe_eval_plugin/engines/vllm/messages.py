"""Conversations as prompts of vLLM: it has other keys for images than transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.chat_template import ChatTemplate, bare_text
from moe_eval_plugin.engines.continuation import continuation_ids
from moe_eval_plugin.engines.conversation import placeholder_texts
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.engines.vllm.options import VLLMOptions


def load_template(options: VLLMOptions, source: str) -> ChatTemplate:
    """Read the chat template that vLLM will use; ``source`` is a folder or a hub id."""
    return ChatTemplate.load(
        options.pretrained,
        options.engine.get("tokenizer") or source,
        options.template_arguments,
        revision=options.engine.get("tokenizer_revision") or options.revision,
        trust_remote_code=options.trust_remote_code,
    )


def messages(conversation: Conversation) -> Conversation:
    """Convert a conversation of transformers, whose images are decoded, to one of vLLM.

    Raises ``InvalidArgumentError`` for a part that is neither text nor an image.
    """
    return [
        {**message, "content": [_part(part) for part in message["content"]]}
        if isinstance(message["content"], list)
        else message
        for message in conversation
    ]


def placeholders_of(model_config: Any) -> frozenset[str]:  # noqa: ANN401  (vLLM's ModelConfig)
    """Return the texts that a model takes for an image; none for one that reads text only."""
    if not model_config.is_multimodal_model:
        return frozenset()
    from vllm.transformers_utils.processor import cached_processor_from_config

    processor = cached_processor_from_config(model_config)
    return placeholder_texts(model_config.hf_config, processor)


def rendered_prompt(llm: Any, template: ChatTemplate, conversation: Conversation) -> dict[str, Any]:  # noqa: ANN401  (vllm.LLM)
    """Encode a conversation for ``LLM.llm_engine``, with the tokens that transformers gives it.

    ``template`` is the checkpoint's. Raises what ``messages`` and vLLM's renderer raise.
    """
    from vllm.renderers.chat_utils import ChatTemplateResolutionError

    # Its public methods run what they render.
    try:
        rendered: dict[str, Any] = llm._preprocess_chat_one(  # noqa: SLF001
            messages(conversation),
            chat_template_kwargs=dict(template.arguments),
            tokenization_kwargs={"add_special_tokens": template.adds_special_tokens},
        )
    except ChatTemplateResolutionError:
        rendered = llm._preprocess_cmpl_one(bare_text(conversation))  # noqa: SLF001
    return rendered


def append_continuation(
    llm: Any,  # noqa: ANN401  (vllm.LLM)
    rendered: dict[str, Any],
    continuation: str | None,
) -> list[int] | None:
    """Append the tokens of a text to a prompt, and return them; ``None`` for no text."""
    if continuation is None:
        return None
    prompt_ids = rendered["prompt_token_ids"]
    target = continuation_ids(llm.get_tokenizer(), prompt_ids, continuation)
    rendered["prompt_token_ids"] = [*prompt_ids, *target]
    return target


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    if part["type"] != "image":
        message = f"moe_vllm takes text and images, and this task has {part['type']}."
        raise InvalidArgumentError(message)
    return {"type": "image_pil", "image_pil": part["image"]}
