"""A location that stores k in a loaded model: its path, its original value, set and restore."""

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
    """One location of a loaded model that stores k, or appears to."""

    decision: RouterDecision
    """What the location is, and whether it may be set."""
    layer: int | None
    """Number of its decoder layer; ``None`` for a location that all layers share."""
    modality: Modality | None
    """The modality whose tokens alone its router serves; ``None`` for all tokens."""
    _write: Callable[[Any], None]
    """Write a stored value to the location."""
    _original: Any
    """The object that the location held when it was found."""
    _stored: Callable[[int], Any] = int
    """Convert k to the value that the location stores."""

    def set(self, k: int) -> None:
        """Write k; may be called again with another k. Raises ``ValueError`` if rejected."""
        if not self.decision.accepted:
            message = f"{self.decision.path}.{self.decision.attribute}: {self.decision.reason}"
            raise ValueError(message)
        self._write(self._stored(k))

    def restore(self) -> None:
        """Write the object that the location held when it was found."""
        self._write(self._original)


def attribute_location(owner: object, name: str, path: str, rejected: str | None) -> KLocation:
    """Return the location of an integer attribute of a module, configuration or Python module.

    ``path`` is that of the owner; ``rejected`` is the reason not to set it, or ``None``.
    """
    value = getattr(owner, name)
    decision = _decide(path, owner, name, value, rejected)
    write = partial(setattr, owner, name)
    return KLocation(decision, layer_number(path), path_modality(path), write, value)


def element_location(
    config: PretrainedConfig, key: str, layer: int, rejected: str | None
) -> KLocation:
    """Return the location of one layer's k in a list of a configuration.

    Other configurations may hold the same list, so a changed copy of it is written.
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
    """Return the location of a router's k that is read from the configuration in each forward.

    All layers share that configuration. Setting k replaces it by a copy in this router alone.
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
