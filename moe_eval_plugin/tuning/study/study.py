"""What a study of tuning found: sensitivities, prices, the frontier, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.schedules.tuning_record import By, CalibrationQuestions
    from moe_eval_plugin.tuning.frontier.point import FrontierPoint
    from moe_eval_plugin.tuning.prices.prices import Prices
    from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities


@dataclass(frozen=True)
class Origin:
    """How a study was made: what, where, when, and with which packages."""

    model: str
    """The model, as the user named it."""
    revision: str | None
    """Commit of the model on the Hub."""
    command: str
    """The command that repeats the study."""
    date: str
    """When it was finished, in ISO 8601."""
    machine: Mapping[str, Any]
    """Name of the device, how many, threads."""
    versions: Mapping[str, str | None]
    """Version of each package that took part."""
    settings: Mapping[str, Any]
    """All settings of the request."""


@dataclass(frozen=True)
class CalibratedPolicy:
    """A policy whose parameters were calibrated at one target."""

    target: float
    """The largest price that was allowed."""
    name: str
    """Name of what was found, and of its file: ``top_p-0.5``."""
    experts_policy: str
    """The policy with its parameters, as ``experts_policy`` takes it."""
    mean_k: float
    """Mean number of experts that a token used."""
    price: float
    """Its price in experts: ``mean_k`` as a share of the published k."""
    loss: Loss
    """Its loss, as measured on the calibration prompts."""


@dataclass(frozen=True)
class TuningStudy:
    """Everything that ``moe-eval tune`` found, as it is stored in ``tuning.json``."""

    origin: Origin
    """How it was made."""
    by: By
    """What k differs by."""
    sensitivities: Sensitivities
    """The loss of each cell at each k, all others as published."""
    prices: Prices
    """What each cell costs at each k."""
    points: tuple[FrontierPoint, ...]
    """The schedule of each target, from the dearest to the cheapest."""
    tried: Mapping[str, Loss]
    """Every schedule whose joint loss was measured, as ``experts_k`` takes it."""
    n_tried: int
    """Settings whose loss was measured on the calibration prompts, over all targets.

    They are each k in each cell alone, whole schedules, and parameters of policies.
    """
    n_prompts: int
    """Number of calibration prompts."""
    questions: tuple[CalibrationQuestions, ...]
    """The questions that they are from; empty for random tokens."""
    data_free: bool = False
    """Whether random tokens took the place of prompts."""
    seed: int = 0
    """Seed of the choice of questions."""
    policies: tuple[CalibratedPolicy, ...] = ()
    """Policies at each target."""
    notes: tuple[str, ...] = field(default=())
    """What a reader must know."""

    def record(self, point: FrontierPoint) -> TuningRecord:
        """Return the record of how the schedule of a target was found."""
        loss = point.uniform_loss
        return TuningRecord(
            name=point.name,
            method="search",
            target=point.target,
            price=point.price,
            unit=self.prices.unit,
            by=self.by,
            predicted_loss=point.predicted_loss,
            measured_loss=point.loss.mean,
            uniform_k=point.uniform_k,
            uniform_loss=None if loss is None else loss.mean,
            **self._common(),
        )

    def policy_record(self, policy: CalibratedPolicy) -> TuningRecord:
        """Return the record of how the parameters of a policy were found."""
        point = next((one for one in self.points if one.target == policy.target), None)
        loss = point.uniform_loss if point else None
        return TuningRecord(
            name=policy.name,
            method=policy.experts_policy.partition(":")[0],
            target=self._target_in_experts(policy.target),
            price=policy.price,
            unit="experts",
            measured_loss=policy.loss.mean,
            uniform_k=point.uniform_k if point else None,
            uniform_loss=None if loss is None else loss.mean,
            **self._common(),
        )

    def _target_in_experts(self, target: float) -> float:
        """Return the share of the routed experts that a target in the unit of the prices allows."""
        return target if self.prices.unit == "experts" else self.prices.routed_share(target)

    def _common(self) -> dict[str, Any]:
        return {
            "model": self.origin.model,
            "revision": self.origin.revision,
            "n_tried": self.n_tried,
            "data_free": self.data_free,
            "seed": self.seed,
            "questions": self.questions,
            "date": self.origin.date,
            "versions": self.origin.versions,
        }
