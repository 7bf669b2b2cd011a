"""A calibration whose model is a table of weights, so that the best parameters can be computed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from moe_eval_plugin.override.policies.parsing import find_policy
from moe_eval_plugin.plugins import LayerChoice, MeasuredPolicy, PolicyCalibration
from moe_eval_plugin.plugins.policy import at_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

K = 8
LAYERS = (1, 2, 3)
# What a skipped share of the weights costs, by layer and by modality.
COST = (6.0, 2.5, 0.5)
OF_TEXT, OF_IMAGE = 4.0, 1.0
N_TOKENS = 400


class WeightTable:
    """Random weights of each layer, and the real policies on them; ``tried`` lists the calls."""

    def __init__(self, *, has_images: bool = True) -> None:
        torch.manual_seed(0)
        concentration = torch.full((K,), 0.6)
        self.weights = [
            torch.distributions.Dirichlet(concentration).sample((N_TOKENS,)) for _ in LAYERS
        ]
        self.is_image = torch.arange(N_TOKENS) % 3 > 0 if has_images else torch.zeros(N_TOKENS) > 0
        self.tried: list[tuple[float | tuple[float, ...], ...]] = []

    def calibration(self, policy: str, target: float = 0.5) -> PolicyCalibration:
        """Return a calibration that measures this table, with the losses of each layer."""

        def measure(parameters: Sequence[float | tuple[float, ...]]) -> MeasuredPolicy:
            self.tried.append(tuple(parameters))
            return self.measured(policy, parameters)

        return PolicyCalibration(
            policy=policy,
            target=target,
            baseline=K,
            layers=LAYERS,
            measure=measure,
            n_prompts=4,
            has_images=bool(self.is_image.any()),
            losses_by_layer={
                layer: {k: cost * (K - k) / 10 for k in (1, 2, 4)}
                for layer, cost in zip(LAYERS, COST, strict=True)
            },
            losses_by_modality={},
        )

    def measured(
        self, policy: str, parameters: Sequence[float | tuple[float, ...]]
    ) -> MeasuredPolicy:
        """Return the loss, which adds up over layers, and the mean k."""
        keep = find_policy(policy).keep
        kept, loss = [], 0.0
        for position, weights in enumerate(self.weights):
            choice = LayerChoice(weights, LAYERS[position], position, self.is_image)
            mask = keep(choice, *(at_position(one, position) for one in parameters))
            mask = mask.scatter(-1, weights.argmax(-1, keepdim=True), value=True)
            skipped = (weights * ~mask).sum(-1)
            of_kind = torch.where(self.is_image, OF_IMAGE, OF_TEXT)
            loss += COST[position] * float((skipped * of_kind).mean())
            kept.append(mask.sum(-1).float())
        return MeasuredPolicy(
            loss,
            _mean(kept, self.is_image | True),
            _mean(kept, ~self.is_image),
            _mean(kept, self.is_image) if self.is_image.any() else None,
        )


def _mean(kept: list[Tensor], rows: Tensor) -> float:
    return float(torch.stack(kept)[:, rows].mean())


def without_layers(calibration: PolicyCalibration) -> PolicyCalibration:
    """Return the calibration of a search by modality, which measured no whole layers."""
    by_modality = {
        (layer, modality): {k: loss * share for k, loss in losses.items()}
        for layer, losses in calibration.losses_by_layer.items()
        for modality, share in (("text", 0.75), ("image", 0.25))
    }
    return replace(calibration, losses_by_layer={}, losses_by_modality=by_modality)
