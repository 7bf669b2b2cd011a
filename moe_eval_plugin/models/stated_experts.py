"""Describe the experts of a model from the text of its ``config.json``, without transformers.

That takes milliseconds where the class of the configuration takes seconds to import. The text may
leave out what the class has a default for, so it is read only where nothing has to be guessed: a
family of the table, with every key that its row names written down, without groups of experts.
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
from moe_eval_plugin.models.families import describe, family_of, moe_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.plugins.family import Family

CONFIG = "config.json"
# Rules of renormalisation that are keys of a configuration.
KEYS_OF_RULES = ("norm_topk_prob", "expert_selection_fn", "moe_normalize_expert_weights")
TEXT_PARTS = ("text_config", "language_config", "llm_config")
IMAGE_PARTS = ("vision_config", "vision_tower", "mm_vision_tower", "visual")


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
    config = read_stated(path) if path else None
    return describe_stated(config) if config is not None else None


def is_text_only(pretrained: str, revision: str | None = None) -> bool:
    """Whether the text of a configuration that is on this machine names no part for images."""
    path = _config_file(resolve(pretrained), revision)
    raw = _read(path) if path else None
    return raw is not None and not any(part in raw for part in IMAGE_PARTS)


def read_stated(path: Path) -> PretrainedConfig | None:
    """Return the values of a ``config.json`` as attributes, ``None`` if it is no JSON object."""
    raw = _read(path)
    return None if raw is None else cast("PretrainedConfig", _Stated(raw))


def describe_stated(config: PretrainedConfig) -> MoEDescription | None:
    """Return the description of the experts of ``read_stated``; ``None`` if a key is missing."""
    if family_of((str(config.model_type),)) is None:
        return None
    try:
        found, part = describe(config), moe_part(config)
    except (InvalidExpertCountError, AttributeError, TypeError):
        return None
    family = family_of((found.family or "",))
    is_stated = family is not None and all(hasattr(part, key) for key in _needed(family))
    reaches_all = found.max_num_experts_per_tok >= found.num_experts
    return found if found.is_moe and is_stated and reaches_all else None


def _needed(family: Family) -> Iterator[str]:
    """Yield the keys, besides k and the number of experts, that a description depends on."""
    named = (family.shared_experts_key, family.zero_experts_key, family.enabled_key)
    yield from (key for key in named if key)
    if family.renormalise in KEYS_OF_RULES:
        yield family.renormalise
    if family.has_groups:
        yield "n_group"


class _Stated(SimpleNamespace):
    """A part of a configuration as it is written; a part within it is one too."""

    def __init__(self, values: dict[str, Any]) -> None:
        parts = {
            name: _Stated(value)
            for name, value in values.items()
            if isinstance(value, dict) and (name.endswith("_config") or "model_type" in value)
        }
        super().__init__(**{"model_type": "", **values, **parts})

    def get_text_config(self, *, decoder: bool = False) -> _Stated:  # noqa: ARG002  (as in transformers)
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
