"""Find every attribute and configuration key of a loaded model that stores k.

Locations are found by structure: an integer with a router's name, equal to the configuration's k,
in an MoE layer or in a module around one; and the same key in each configuration object that a
module holds. The small tables below list what structure does not show, each with its reason.
Rejected locations are listed too, because a location that was missed has to be explained.

Layers of a checkpoint for drafting (MTP, "next-n") are not among the locations: transformers drops
them when it loads a model, and its ``MtpModel`` is a separate model.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, TypeGuard

from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.models.families import (
    K_KEYS,
    NUM_EXPERTS_KEYS,
    describe,
    moe_part,
    nested_configs,
    table,
)
from moe_eval_plugin.models.moe_layers import find_moe_layers
from moe_eval_plugin.override.k_location import (
    KLocation,
    attribute_location,
    element_location,
    private_config_location,
)
from moe_eval_plugin.override.module_constant import constant_location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn
    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription

# openai_privacy_filter multiplies the experts' output by k, which its MLP stores under this name.
OTHER_NAMES_OF_K = {"OpenAIPrivacyFilterMLP": ("num_experts",)}
# Routers that read k from ``self.config`` in each forward pass, under this key.
READ_FROM_CONFIG = {
    "Gemma4TextRouter": "top_k_experts",
    "DiffusionGemmaTextRouter": "top_k_experts",
}
# MoE++ is remote code: its router and its layer read this constant of their Python module.
MODULE_CONSTANTS = ("MOE_TOP_K",)
# deepseek_v4 has such a buffer in the routers of its first layers.
HASH_TABLE = "tid2eid"
HASH_ROUTED = (
    "its experts are looked up by token id in a table of the checkpoint, which has one column "
    "for each of the published k and no order among them, so no other k is defined. Use the "
    "published k for this layer in a schedule by layer"
)


def find_k_locations(
    model: nn.Module, description: MoEDescription | None = None
) -> list[KLocation]:
    """List every location of a model that stores k or appears to, each with a reason.

    The k that ``model.config`` states now is searched for; ``description`` is that of
    ``model.config``, where it was read already. Locations that all layers share come first. The
    model is not changed.
    """
    search = _KSearch(model, description or describe(model.config))
    return [
        *search.configurations(),
        *search.constants(),
        *search.attributes(),
        *search.private_configurations(),
    ]


class _KSearch:
    """The search in one model, with what every kind of location is checked against."""

    def __init__(self, model: nn.Module, description: MoEDescription) -> None:
        family = table().get(description.family or "")
        self._k = description.num_experts_per_tok
        self._k_keys = _with_key(family.k_key if family else None, K_KEYS)
        self._count_keys = _with_key(family.num_experts_key if family else None, NUM_EXPERTS_KEYS)
        self._modules = dict(model.named_modules())
        self._part = moe_part(model.config)
        # Experts that are rows of an embedding (doge) have no module of their own, but a count.
        counts = set(_counts(self._part, self._count_keys))
        self._found = list(find_moe_layers(model))
        experts = (path for layer in self._found for path in layer.expert_modules)
        self._moe_layers = {path.rpartition(".")[0] for path in experts} | {
            path
            for path, module in self._modules.items()
            if layer_number(path) is not None and counts & set(_counts(module, self._count_keys))
        }

    def configurations(self) -> Iterator[KLocation]:
        """Yield the keys for k in each configuration object that some module holds, once each."""
        for config in _configurations(self._modules.values()):
            rejection = self._rejection_of_part(config)
            for key in self._k_keys:
                value = vars(config).get(key)
                if isinstance(value, list):
                    layers = (layer for layer, k in enumerate(value) if _is_count(k))
                    yield from (element_location(config, key, layer, rejection) for layer in layers)
                elif _is_count(value):
                    reason = rejection or self._rejection_of_value(value, None)
                    yield attribute_location(config, key, "config", reason)

    def constants(self) -> Iterator[KLocation]:
        """Yield, for each layer, constants of the Python module in which its class is defined.

        All models whose code is in that module share them, so they are set for one layer's calls.
        """
        for layer in self._found:
            block = layer.observed_module if layer.is_listed else self._modules[layer.path]
            code = sys.modules.get(type(block).__module__)
            for name in MODULE_CONSTANTS:
                value = getattr(code, name, None)
                if code is not None and _is_count(value):
                    rejection = self._rejection_of_value(value, layer_number(layer.path))
                    yield constant_location(layer, block, code, name, rejection)

    def attributes(self) -> Iterator[KLocation]:
        """Yield integer attributes of modules that have a router's name for k."""
        for path, module in self._modules.items():
            others = OTHER_NAMES_OF_K.get(type(module).__name__, ())
            for name in ("top_k", *self._k_keys, *others):
                value = vars(module).get(name)
                if _is_count(value):
                    rejection = self._rejection(path, module, value)
                    yield attribute_location(module, name, path, rejection)

    def private_configurations(self) -> Iterator[KLocation]:
        """Yield the configurations of routers that read k from there in each forward pass."""
        for path, module in self._modules.items():
            config = vars(module).get("config")
            if not hasattr(config, "model_type") or not self._is_inside(path):
                continue
            key = key_read_in_forward(type(module), self._k_keys)
            value = vars(config).get(key) if key else None
            if key and _is_count(value):
                rejection = self._rejection(path, module, value)
                yield private_config_location(module, key, path, rejection)

    def _rejection(self, path: str, module: nn.Module, value: int) -> str | None:
        if not self._is_inside(path) and not self._is_around(path):
            return "the module is no part of an MoE layer"
        if HASH_TABLE in dict(module.named_buffers(recurse=False)):
            return HASH_ROUTED
        owner = self._nearest_configuration(path)
        return self._rejection_of_part(owner) or self._rejection_of_value(value, layer_number(path))

    def _rejection_of_value(self, value: int, layer: int | None) -> str | None:
        expected = self._expected_k(layer)
        if value == expected:
            return None
        return f"it holds {value}, which is not the model's k of {expected}"

    def _rejection_of_part(self, config: PretrainedConfig) -> str | None:
        """Compare the model type of the part of ``config`` with experts to that of the model.

        A model that speaks has a talker with experts of its own, and an image tower may have some.
        """
        part = moe_part(config)
        if getattr(part, "model_type", None) == getattr(self._part, "model_type", None):
            return None
        return f"it belongs to {config.model_type}, another part of the model"

    def _expected_k(self, layer: int | None) -> int:
        for key in self._k_keys:
            value = vars(self._part).get(key) if self._part is not None else None
            if isinstance(value, list) and layer is not None and layer < len(value):
                return int(value[layer])
        return self._k

    def _is_inside(self, path: str) -> bool:
        return any(f"{path}.".startswith(f"{layer}.") for layer in self._moe_layers)

    def _is_around(self, path: str) -> bool:
        return not path or any(layer.startswith(f"{path}.") for layer in self._moe_layers)

    def _nearest_configuration(self, path: str) -> PretrainedConfig:
        while True:
            config = vars(self._modules[path]).get("config")
            if hasattr(config, "model_type") or not path:
                return config
            path = path.rpartition(".")[0]


def key_read_in_forward(module_class: type[nn.Module], keys: Iterable[str]) -> str | None:
    """Return the key for k that a module's forward reads from ``self.config``; ``None`` if none.

    A class that ``READ_FROM_CONFIG`` lacks is judged by the attribute names in the bytecode of its
    forward. That misses a key read with ``getattr``, in another method, or under a decorator that
    does not set ``__wrapped__``; and a forward that only mentions the key for another purpose is
    set in vain. Verification catches both.
    """
    if module_class.__name__ in READ_FROM_CONFIG:
        return READ_FROM_CONFIG[module_class.__name__]
    code = getattr(inspect.unwrap(module_class.forward), "__code__", None)
    names = code.co_names if code is not None else ()
    return next((key for key in keys if key in names and "config" in names), None)


def _with_key(key: str | None, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((key, *keys) if key else keys))


def _counts(owner: object, names: tuple[str, ...]) -> list[int]:
    """List the counts that an object itself holds under some names."""
    held = vars(owner) if owner is not None else {}
    return [held[name] for name in names if _is_count(held.get(name))]


def _configurations(modules: Iterable[nn.Module]) -> list[PretrainedConfig]:
    """List the configurations of modules and the parts nested in them, each object once."""
    found: dict[int, PretrainedConfig] = {}
    pending = [config for m in modules if (config := vars(m).get("config")) is not None]
    while pending:
        config = pending.pop()
        if id(config) not in found and hasattr(config, "model_type"):
            found[id(config)] = config
            pending.extend(nested_configs(config))
    return list(found.values())


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
