"""One place of a loaded model that holds k: what it is, and how it is set and put back."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.module_path import layer_number, path_modality
from moe_eval_plugin.experts.trace import RouterDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.tokens import Modality


@dataclass(frozen=True)
class KLocation:
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


def attribute_location(owner: object, name: str, path: str, rejected: str | None) -> KLocation:
    """Make the place of an integer that a module, a configuration or a Python module holds.

    ``path`` leads to the owner; ``rejected`` is the reason not to set it, if there is one.
    """
    value = getattr(owner, name)
    decision = _decide(path, owner, name, value, rejected)
    write = partial(setattr, owner, name)
    return KLocation(decision, layer_number(path), path_modality(path), write, value)


def element_location(
    config: PretrainedConfig, key: str, layer: int, rejected: str | None
) -> KLocation:
    """Make the place of one layer's k in a list that a configuration holds.

    Other configurations may hold the same list, so a copy of it is changed.
    """
    values = getattr(config, key)

    def write(k: int) -> None:
        changed = [*getattr(config, key)]
        changed[layer] = k
        setattr(config, key, values if changed == values else changed)

    decision = _decide("config", config, f"{key}[{layer}]", values[layer], rejected)
    return KLocation(decision, layer, None, write, values[layer])


def private_config_location(
    module: nn.Module, key: str, path: str, rejected: str | None
) -> KLocation:
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
    return KLocation(decision, layer_number(path), path_modality(path), write, config, copy_with)


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
