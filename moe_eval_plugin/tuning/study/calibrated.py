"""Calibrate the parameters of policies at the targets of a study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.plugins.policy_calibration import MeasuredPolicy, PolicyCalibration
from moe_eval_plugin.tuning.policies.calibrate import calibrate_policy
from moe_eval_plugin.tuning.study.study import CalibratedPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from moe_eval_plugin.experts.schedules.routing_rule import Parameter
    from moe_eval_plugin.tuning.calibration import CalibrationPrompts
    from moe_eval_plugin.tuning.passes.measure import MeasuredLoss
    from moe_eval_plugin.tuning.prices.prices import Prices
    from moe_eval_plugin.tuning.sensitivities import Sensitivities


@dataclass
class PolicyCalibrations:
    """Calibrates policies on the prompts of a study; each setting is measured once."""

    layers: tuple[int, ...]
    """Decoder layers with routed experts."""
    model: nn.Module
    """The loaded model of transformers, at the published k whenever nothing is measured."""
    prompts: CalibrationPrompts
    """The calibration prompts."""
    has_images: bool
    """Whether the prompts have image tokens."""
    sensitivities: Sensitivities
    """The loss of each cell at each k."""
    measure: Callable[[str], MeasuredLoss]
    """Measures a policy, given as text of ``experts_policy``."""
    measured: dict[str, MeasuredLoss] = field(default_factory=dict)
    """What was measured so far, by ``experts_policy``."""

    def calibrate(
        self, policies: Sequence[str], targets: Sequence[float], prices: Prices
    ) -> tuple[list[CalibratedPolicy], list[str]]:
        """Return the policies at each target, and in words where a policy cannot reach one.

        A policy may use the share of the experts that the target leaves for them, whatever its
        unit is.
        """
        found, unreached = [], []
        for name in policies:
            for target in targets:
                share = prices.routed_share(target)
                try:
                    found.append(self._calibrate(name, target, share))
                except InvalidArgumentError as error:
                    unreached.append(f"{name} at {target:g}: {error}")
        return found, unreached

    def _calibrate(self, name: str, target: float, share: float) -> CalibratedPolicy:
        baseline = self.sensitivities.baseline
        by_layer, by_modality = losses_by_place(self.sensitivities)

        def measure(parameters: Sequence[Parameter]) -> MeasuredPolicy:
            one = self._measured(RoutingRule(name, tuple(parameters)).policy_text)
            return MeasuredPolicy(
                one.loss.mean,
                one.mean_k,
                one.mean_k_of(modality="text"),
                one.mean_k_of(modality="image"),
            )

        parameters = calibrate_policy(
            name,
            PolicyCalibration(
                policy=name,
                target=share,
                baseline=baseline,
                layers=self.layers,
                measure=measure,
                n_prompts=self.prompts.n_prompts,
                has_images=self.has_images,
                losses_by_layer=by_layer,
                losses_by_modality=by_modality,
                model=self.model,
                prompts=self.prompts.batches,
            ),
        )
        text = RoutingRule(name, parameters).policy_text
        one = self._measured(text)
        return CalibratedPolicy(
            target=target,
            name=f"{name}-{target:g}",
            experts_policy=text,
            mean_k=one.mean_k,
            price=one.mean_k / baseline,
            loss=one.loss,
        )

    def _measured(self, text: str) -> MeasuredLoss:
        if text not in self.measured:
            self.measured[text] = self.measure(text)
        return self.measured[text]


def losses_by_place(
    sensitivities: Sensitivities,
) -> tuple[dict[int, dict[int, float]], dict[tuple[int, str], dict[int, float]]]:
    """Return the mean losses by layer and k, and by layer, modality and k.

    Of a search by phase, the loss of a layer is the sum of those of its phases.
    """
    by_layer: dict[int, dict[int, float]] = {}
    by_modality: dict[tuple[int, str], dict[int, float]] = {}
    for (cell, k), loss in sensitivities.losses.items():
        if cell.modality is not None:
            by_modality.setdefault((cell.layer, cell.modality), {})[k] = loss.mean
        else:
            of_layer = by_layer.setdefault(cell.layer, {})
            of_layer[k] = of_layer.get(k, 0.0) + loss.mean
    return by_layer, by_modality
