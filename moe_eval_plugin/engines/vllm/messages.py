"""Conversations in the form that vLLM reads: it has other keys for images than transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    if part["type"] != "image":
        message = f"moe_vllm takes text and images, and this task has {part['type']}."
        raise InvalidArgumentError(message)
    return {"type": "image_pil", "image_pil": part["image"]}
