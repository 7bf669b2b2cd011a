"""One target of a frontier: the schedule that was chosen, and the uniform k of its price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moe_eval_plugin.tuning.sensitivities import Loss

if TYPE_CHECKING:
    from typing import TypeAlias

Verdict: TypeAlias = Literal["better", "no clear difference", "not better"]
# Standard errors that a difference must have to be called clear; about 95%.
CLEAR = 2.0


@dataclass(frozen=True)
class FrontierPoint:
    """The schedule that lost least at one target, on the calibration prompts."""

    target: float
    """The largest price allowed, as a share of the published model's."""
    name: str
    """Name of the schedule, and of its file: ``tuned-0.5``."""
    experts_k: str
    """The schedule, as ``experts_k`` takes it."""
    ks: tuple[int, ...]
    """Its k in each cell."""
    price: float
    """Its price, at most ``target``."""
    predicted_loss: float
    """Sum of the losses of each cell alone."""
    loss: Loss
    """The loss of all cells together, as measured."""
    uniform_k: int | None
    """The largest k that costs no more than the target everywhere; ``None`` if there is none."""
    uniform_price: float | None
    """The price of that k."""
    uniform_loss: Loss | None
    """The loss of that k, on the same prompts."""
    n_candidates: int
    """Settings that were measured for this target."""
    share_of_resamples: float
    """In which share of resamples of the prompts the search finds this very schedule."""
    flops: float | None = None
    """FLOPs of the language model on these prompts, as a share; ``None`` where not known."""
    decode_bytes: float | None = None
    """Bytes that a decode step of one sequence reads, as a share; ``None`` where not known."""

    @property
    def difference(self) -> Loss | None:
        """Loss of the schedule minus that of the uniform k, by prompt."""
        if self.uniform_loss is None:
            return None
        return Loss(self.loss.by_prompt - self.uniform_loss.by_prompt)

    @property
    def verdict(self) -> Verdict | None:
        """Whether it loses less than the uniform k; ``None`` where there is none to compare with.

        The prompts are those by which it was chosen, so this flatters it: only questions that took
        no part in choosing show how good it is.
        """
        difference = self.difference
        if difference is None:
            return None
        if difference.mean >= 0:
            return "not better"
        error = difference.standard_error
        is_clear = error is not None and difference.mean < -CLEAR * error
        return "better" if is_clear else "no clear difference"
