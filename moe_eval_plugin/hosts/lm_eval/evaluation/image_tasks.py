"""Refuse tasks with images for a model of ours that takes none, in words that name another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_images(lm: Any, tasks: Mapping[str, Any]) -> None:  # noqa: ANN401  (any model of the host)
    """Raise ``InvalidArgumentError`` if a task has images and the model is for text alone.

    ``tasks`` are loaded tasks by name. The host would name its own models, which set no k.
    """
    if getattr(lm, "MULTIMODAL", False):
        return
    named = [name for name, task in tasks.items() if getattr(task, "MULTIMODAL", False)]
    if named:
        message = (
            f"{', '.join(named)}: these questions have images, and {type(lm).__name__} is for text "
            "alone. Use --model moe_hf-multimodal or moe_vllm-vlm, with --apply_chat_template."
        )
        raise InvalidArgumentError(message)
