"""Where routers of transformers hold k, in a form that code without this package can set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.experts.module_path import LAYER_NUMBER
from moe_eval_plugin.override.expert_choice import FAIL_AT_ONE_CHOICE
from moe_eval_plugin.override.k_search import find_k_locations

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.tokens import Modality

OF_A_CONFIGURATION = "config."


@dataclass(frozen=True)
class RouterPlace:
    """An attribute that holds k, at the same place of several layers."""

    path: str
    """Path of the module; ``{layer}`` stands for the number of the layer."""
    attribute: str
    """Name of the attribute; with ``config.`` before it, of the module's configuration."""
    modality: Modality | None
    """The modality whose tokens alone the router serves; ``None`` for all tokens."""
    layers: tuple[int, ...]
    """Decoder layers that have it."""


def router_places(
    model: Any,  # noqa: ANN401  (a module of torch)
    description: MoEDescription,
    resolved: ResolvedSchedule,
    layers: Sequence[int],
) -> list[RouterPlace]:
    """List the attributes that hold k, if a schedule can be written to them alone.

    ``layers`` are the decoder layers with routed experts. Raises ``UnsupportedFamilyError`` where
    attributes alone cannot express the schedule.
    """
    if resolved.differs_by_phase:
        message = "a router has one k, and nothing changes it between prefill and decode"
        raise UnsupportedFamilyError(message)
    modules = dict(model.named_modules())
    if 1 in resolved.table.values() and any(
        type(module).__name__ in FAIL_AT_ONE_CHOICE for module in modules.values()
    ):
        message = f"the experts of {description.model_type} fail at one expert per token"
        raise UnsupportedFamilyError(message)
    places = list(_grouped(model, modules, description, layers))
    _check_complete(places, layers, description)
    if resolved.differs_by_modality and any(place.modality is None for place in places):
        message = "a router chooses as many experts for image tokens as for text tokens"
        raise UnsupportedFamilyError(message)
    return places


def _grouped(
    model: Any,  # noqa: ANN401
    modules: Mapping[str, object],
    description: MoEDescription,
    layers: Sequence[int],
) -> Iterator[RouterPlace]:
    found: dict[tuple[str, str, Modality | None], list[int]] = defaultdict(list)
    for location in find_k_locations(model, description):
        decision, layer = location.decision, location.layer
        if layer is None or layer not in layers:
            continue
        # An element of a list in a configuration is only read when a router is built.
        if not decision.accepted or decision.path == "config":
            continue
        if decision.path not in modules:
            message = (
                f"{description.model_type} reads k from {decision.path}.{decision.attribute}, "
                "which all its layers share"
            )
            raise UnsupportedFamilyError(message)
        path = LAYER_NUMBER.sub(_without_number, decision.path, count=1)
        found[path, decision.attribute, location.modality].append(layer)
    for (path, attribute, modality), numbers in found.items():
        yield RouterPlace(path, attribute, modality, tuple(numbers))


def _without_number(match: re.Match[str]) -> str:
    head, _, tail = match[0].rpartition(match[1])
    return f"{head}{{layer}}{tail}"


def _check_complete(
    places: Sequence[RouterPlace], layers: Sequence[int], description: MoEDescription
) -> None:
    missing = set(layers) - {layer for place in places for layer in place.layers}
    if missing:
        message = f"layer {min(missing)} of {description.model_type} has no k of its own"
        raise UnsupportedFamilyError(message)
