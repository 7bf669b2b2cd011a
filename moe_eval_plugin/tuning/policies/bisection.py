"""Find the number at which a policy uses as many experts as allowed, in few measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from moe_eval_plugin.experts.schedules.routing_rule import Parameter
    from moe_eval_plugin.plugins.policy_calibration import MeasuredPolicy, PolicyCalibration

    Parameters: TypeAlias = "Sequence[Parameter]"

# A mean k that is below the target by this share of the published k is close enough.
TOLERANCE = 0.002
MOST = 12
DIGITS = 4


@dataclass(frozen=True)
class Trial:
    """One measurement: the number that was varied, all parameters, and what was measured."""

    number: float
    parameters: Parameters
    measured: MeasuredPolicy


def bisect(
    calibration: PolicyCalibration,
    parameters_at: Callable[[float], Parameters],
    ends: tuple[float, float],
    most: int = MOST,
    *,
    geometric: bool = False,
) -> Trial | None:
    """Return the trial of least loss whose mean k is at most the target; ``None`` without one.

    ``ends`` are a number at which too many experts stay, and one at which the fewest do; between
    them the mean k falls. Each step halves their distance, or with ``geometric`` that of their
    logarithms. At most ``most`` numbers are measured, and the second end if all of them keep too
    many experts.
    """
    many, few = ends
    allowed: list[Trial] = []
    for _ in range(most):
        middle = rounded((many * few) ** 0.5 if geometric else (many + few) / 2)
        if middle in {many, few}:
            break
        trial = _measure(calibration, parameters_at, middle)
        spare = calibration.target_k - trial.measured.mean_k
        if spare < 0:
            many = middle
            continue
        few = middle
        allowed.append(trial)
        if spare <= TOLERANCE * calibration.baseline:
            break
    if not allowed:
        trial = _measure(calibration, parameters_at, ends[1])
        allowed = [trial] if trial.measured.mean_k <= calibration.target_k else []
    return least_loss(allowed)


def least_loss(trials: Iterable[Trial | None]) -> Trial | None:
    """Return the trial of least loss, of those the one of most experts; ``None`` without any."""
    found = [trial for trial in trials if trial is not None]
    return min(found, key=lambda one: (one.measured.loss, -one.measured.mean_k), default=None)


def rounded(number: float, digits: int = DIGITS) -> float:
    """Return a number with few significant digits, as it is written into files."""
    return float(f"{number:.{digits}g}")


def _measure(
    calibration: PolicyCalibration, parameters_at: Callable[[float], Parameters], number: float
) -> Trial:
    parameters = parameters_at(number)
    return Trial(number, parameters, calibration.measure(parameters))
