"""Describe the experts of a model from the text of its ``config.json``, without transformers.

That takes milliseconds where the class of the configuration takes seconds to import. The text may
leave out what the class has a default for, so it is read only where nothing has to be guessed: a
family of the table, whose k and number of experts are written down, without groups of experts.
Everything else is ``None``, and is read with transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from moe_eval_plugin.errors import InvalidExpertCountError
from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import require_on_hub, resolve
from moe_eval_plugin.models.families import describe, family_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription

CONFIG = "config.json"
TEXT_PARTS = ("text_config", "language_config", "llm_config")


def stated_experts(pretrained: str, revision: str | None = None) -> MoEDescription | None:
    """Return the description of a model's experts, or ``None`` where the text is not enough.

    The model is a folder, ``demo``, or one in the Hub's cache. For another one the Hub is asked
    whether it exists; nothing is downloaded. Raises what ``resolve`` and ``ask_hub`` raise, and
    ``ModelNotFoundError`` where the Hub cannot be reached.
    """
    name = resolve(pretrained)
    path = _config_file(name, revision)
    if path is None:
        require_on_hub(name, revision)
    raw = _read(path) if path else None
    if raw is None or family_of((str(raw.get("model_type")),)) is None:
        return None
    try:
        found = describe(cast("PretrainedConfig", _Stated(raw)))
    except (InvalidExpertCountError, AttributeError, TypeError):
        return None
    is_plain = found.is_moe and found.family is not None
    reaches_all = found.max_num_experts_per_tok >= found.num_experts
    return found if is_plain and reaches_all else None


class _Stated(SimpleNamespace):
    """A part of a configuration as it is written; a part within it is one too."""

    def __init__(self, values: dict[str, Any]) -> None:
        parts = {
            name: _Stated(value)
            for name, value in values.items()
            if isinstance(value, dict) and (name.endswith("_config") or "model_type" in value)
        }
        super().__init__(**{"model_type": "", **values, **parts})

    def get_text_config(self) -> _Stated:
        """Return the part of the language model, or the whole where it has no part of its own."""
        found = (getattr(self, name, None) for name in TEXT_PARTS)
        return next((part for part in found if isinstance(part, _Stated)), self)


def _config_file(name: str, revision: str | None) -> Path | None:
    if is_folder(name):
        return Path(name, CONFIG)
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, CONFIG, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None
