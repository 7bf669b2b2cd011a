"""Conversations in the form that vLLM reads: it has other keys for images than transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.conversation import placeholder_texts
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from moe_eval_plugin.engines.request import Conversation


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


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    if part["type"] != "image":
        message = f"moe_vllm takes text and images, and this task has {part['type']}."
        raise InvalidArgumentError(message)
    return {"type": "image_pil", "image_pil": part["image"]}
