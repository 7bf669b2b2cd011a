"""Which share of the experts that routers chose a policy skipped."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.tokens import CONTENT, Modality

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.layer_observation import LayerObservation
    from moe_eval_plugin.experts.observation import Observation
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.json_object import JsonObject

SKIPPED = "skipped_experts"


@dataclass(frozen=True)
class SkippedExperts:
    """Shares of the chosen experts that were skipped, 0 to 1: ``1 - observed k / k``."""

    share: float
    """Of all text and image tokens."""
    text: float | None
    """Of text tokens; ``None`` without them."""
    image: float | None
    """Of image tokens; ``None`` without them."""

    @classmethod
    def from_dict(cls, values: JsonObject) -> SkippedExperts:
        """Build the shares from what a record stores; ``DataError`` for a wrong type."""
        return cls(values.need_number("share"), values.number("text"), values.number("image"))


def with_skipped_experts(
    routing: Mapping[str, Any], observation: Observation, resolved: ResolvedSchedule
) -> dict[str, Any]:
    """Return the summary of an observation with the shares over all layers and of each layer.

    ``routing`` is ``Observation.to_dict``, and ``resolved`` has the k from which experts were
    dropped. A layer that no token reached has no shares.
    """
    used, chosen = Counter[Modality](), Counter[Modality]()
    layers = dict(routing["layers"])
    for path, layer in observation.layers.items():
        of_layer = _counts(path, layer, resolved)
        used.update(of_layer[0])
        chosen.update(of_layer[1])
        if found := _shares(*of_layer):
            layers[path] = {**layers[path], SKIPPED: asdict(found)}
    everywhere = _shares(used, chosen)
    return {**routing, **({SKIPPED: asdict(everywhere)} if everywhere else {}), "layers": layers}


def read_skipped_experts(of: JsonObject) -> SkippedExperts | None:
    """Read the shares of a layer, or of all; ``None`` without a policy, and in older files."""
    found = of.item(SKIPPED)
    return SkippedExperts.from_dict(found) if found else None


def _counts(
    path: str, layer: LayerObservation, resolved: ResolvedSchedule
) -> tuple[Counter[Modality], Counter[Modality]]:
    """Count the experts that a layer's tokens used, and those that its router chose."""
    used, chosen = Counter[Modality](), Counter[Modality]()
    for count in layer.tokens:
        for modality in CONTENT:
            if count.modality == modality:
                k = resolved.k_of(layer_number(path), modality, count.phase)
                used[modality] += count.k * count.n_tokens
                chosen[modality] += k * count.n_tokens
    return used, chosen


def _shares(used: Counter[Modality], chosen: Counter[Modality]) -> SkippedExperts | None:
    if not chosen.total():
        return None
    text, image = (
        1 - used[modality] / chosen[modality] if chosen[modality] else None for modality in CONTENT
    )
    return SkippedExperts(1 - used.total() / chosen.total(), text, image)
