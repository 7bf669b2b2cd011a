"""Check the ``generation_config.json`` of a checkpoint before a weight is read."""

from __future__ import annotations

from moe_eval_plugin.engines.generation import sort_checkpoint_settings
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.checkpoint import resolve

NO_JSON = "valid JSON"


def check_generation_config(pretrained: str, revision: str | None = None) -> None:
    """Raise ``UserError`` where the file cannot be read, on every engine alike.

    transformers would use other settings silently, or end in an error of its own once all weights
    are loaded. A checkpoint needs no such file.
    """
    from transformers import GenerationConfig

    try:
        found = GenerationConfig.from_pretrained(resolve(pretrained), revision=revision)
        sort_checkpoint_settings(found.to_diff_dict())
    except (OSError, TypeError, ValueError, AttributeError, UserError) as error:
        if isinstance(error, OSError) and NO_JSON not in str(error):
            return
        message = (
            f"generation_config.json of {pretrained} cannot be used: {error} Correct the file, or "
            "remove it: only its special tokens and repetition_penalty are used."
        )
        raise UserError(message) from error
