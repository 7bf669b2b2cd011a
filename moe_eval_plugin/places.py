"""One place of a loaded model that holds k: what it is, and how it is set and put back."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from transformers import PretrainedConfig

    from moe_eval_plugin.spec import Modality


# ernie4_5_vl_moe has two routers in each layer; the name of the block tells whose tokens it takes.
MODALITY_BLOCKS: dict[str, Modality] = {"text_moe": "text", "vision_moe": "image"}
LAYER_NUMBER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)(?=\.|$)")


@dataclass(frozen=True)
class RouterDecision:
    """One place that might hold k: what it was, and why it was set or left alone.

    ``path`` is the module's path in the model, ``config`` for a configuration object, or the
    name of a Python module; ``value`` is what stood there before.
    """

    path: str
    owner: str
    attribute: str
    value: int
    accepted: bool
    reason: str


@dataclass(frozen=True)
class Place:
    """One place of a loaded model that holds k, or looks as if it did.

    ``layer`` is the number of the decoder layer, ``None`` for what all layers share.
    ``modality`` is set where a router serves the tokens of one modality only.
    """

    decision: RouterDecision
    layer: int | None
    modality: Modality | None
    _write: Callable[[Any], None]
    _original: Any
    _stored: Callable[[int], Any] = int

    def set(self, k: int) -> None:
        """Write k; may be called again with another k. Raises ``ValueError`` if rejected."""
        if not self.decision.accepted:
            message = f"{self.decision.path}.{self.decision.attribute}: {self.decision.reason}"
            raise ValueError(message)
        self._write(self._stored(k))

    def restore(self) -> None:
        """Put back the very object that stood here when the place was found."""
        self._write(self._original)


def layer_number(path: str) -> int | None:
    """Read the number of the decoder layer from a module's path; ``None`` outside of layers.

    ``model.language_model.layers.3.mlp.gate`` gives 3.
    """
    match = LAYER_NUMBER.search(path)
    return int(match[1]) if match else None


def attribute_place(owner: object, name: str, path: str, rejected: str | None) -> Place:
    """Make the place of an integer that a module, a configuration or a Python module holds.

    ``path`` leads to the owner; ``rejected`` is the reason not to set it, if there is one.
    """
    value = getattr(owner, name)
    decision = _decide(path, owner, name, value, rejected)
    write = partial(setattr, owner, name)
    return Place(decision, layer_number(path), _modality(path), write, value)


def element_place(config: PretrainedConfig, key: str, layer: int, rejected: str | None) -> Place:
    """Make the place of one layer's k in a list that a configuration holds.

    Other configurations may hold the same list, so a copy of it is changed.
    """
    values = getattr(config, key)

    def write(k: int) -> None:
        changed = [*getattr(config, key)]
        changed[layer] = k
        setattr(config, key, values if changed == values else changed)

    decision = _decide("config", config, f"{key}[{layer}]", values[layer], rejected)
    return Place(decision, layer, None, write, values[layer])


def own_config_place(module: nn.Module, key: str, path: str, rejected: str | None) -> Place:
    """Make the place of a router that reads k from its configuration in each forward pass.

    All layers share that configuration. The router gets a copy, so that its k is its own.
    """
    config = module.config

    def copy_with(k: int) -> PretrainedConfig:
        changed = copy.copy(config)
        setattr(changed, key, k)
        return changed

    decision = _decide(path, module, f"config.{key}", getattr(config, key), rejected)
    write = partial(setattr, module, "config")
    return Place(decision, layer_number(path), _modality(path), write, config, copy_with)


def _modality(path: str) -> Modality | None:
    return next((MODALITY_BLOCKS[n] for n in path.split(".") if n in MODALITY_BLOCKS), None)


def _decide(
    path: str, owner: object, attribute: str, value: int, rejected: str | None
) -> RouterDecision:
    return RouterDecision(
        path=path,
        owner=type(owner).__name__,
        attribute=attribute,
        value=value,
        accepted=rejected is None,
        reason=rejected or "it holds the model's k",
    )
