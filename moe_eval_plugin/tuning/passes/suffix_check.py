"""Examine whether suffix passes of a model give what whole passes give, before they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from moe_eval_plugin.models.architecture import image_tower
from moe_eval_plugin.models.moe_layers import find_moe_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from moe_eval_plugin.tuning.passes.batch_passes import BatchPasses, Outcome

# Two passes are equal up to this divergence in nats, and to some times that of a repeated pass,
# which is 0 where kernels add numbers up in a fixed order.
TOLERANCE, TIMES_NOISE = 1e-9, 10.0
# Layers of which a pass at another k is compared.
N_COMPARED = 3


def reason_of_model(model: nn.Module, path: str) -> str | None:
    """Return why experts may be outside of the decoder layers at ``path``; ``None`` if none are."""
    tower = image_tower(model)
    in_tower = set(map(id, tower.modules())) if tower is not None else set()
    for layer in find_moe_layers(model):
        is_image = all(id(module) in in_tower for module in layer.expert_modules.values())
        if not layer.path.startswith(f"{path}.") and not is_image:
            return f"{layer.path} has experts and is none of the decoder layers {path}"
    return None


class SuffixCheck:
    """Comparison of suffix passes with whole passes, on one batch whose published pass has run."""

    def __init__(self, passes: BatchPasses) -> None:
        self._passes = passes
        again = passes.divergences(passes.published, passes.run_whole())
        self._tolerance = max(TOLERANCE, TIMES_NOISE * max(again))

    def reason_of_unchanged(self, layers: Iterable[int]) -> str | None:
        """Return from which layer on an unchanged pass differs from the published one, if any.

        The model must be as published.
        """
        for layer in layers:
            if reason := self._compare({layer}, lambda: self._passes.published):
                return f"with nothing changed, a pass from layer {layer} on {reason}"
        return None

    def reason_of_changed(self, changed: frozenset[int]) -> str | None:
        """Return how a suffix pass at the k in force differs from a whole pass, if it does."""
        if reason := self._compare(changed, self._passes.run_whole):
            return f"at another k, a pass from layer {min(changed)} on {reason}"
        return None

    def _compare(self, changed: Iterable[int], whole: Callable[[], Outcome]) -> str | None:
        try:
            suffix = self._passes.run(frozenset(changed))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever a layer misses that others keep)
            return f"fails ({type(error).__name__}: {str(error)[:80]})"
        largest = max(self._passes.divergences(whole(), suffix))
        if largest <= self._tolerance:
            return None
        return f"differs from a whole one by {largest:.2g} nats per token"


def compared(changed: Iterable[frozenset[int]]) -> list[frozenset[int]]:
    """Choose the changed layers whose passes are compared: the first, a middle and the last."""
    ordered = sorted(changed, key=min)
    step = max(1, (len(ordered) - 1) / (N_COMPARED - 1))
    chosen = {round(step * i) for i in range(N_COMPARED)}
    return [one for i, one in enumerate(ordered) if i in chosen]
