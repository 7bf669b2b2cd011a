"""How the parameters of each policy of this package are chosen."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.tuning.policies.bisection import Trial, bisect, least_loss, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moe_eval_plugin.plugins.policy_calibration import PolicyCalibration
    from moe_eval_plugin.tuning.policies.bisection import Parameters

# Measurements of each further point of a family, whose ends are known better.
FEW = 6
# Image threshold by text threshold.
RATIOS = (1.0, 0.5, 2.0, 4.0)
# Where between the LOW that fits HIGH=1 and 1 the further HIGH are.
INNER = (2 / 3, 1 / 3)
# The least distance between two numbers, and the smallest share to reach.
LEAST = 1e-4
# A layer whose loss is lost in noise has a hundredth of the mean importance.
LEAST_IMPORTANCE = 0.01
IMPORTANCE_DIGITS = 3
# A share of the weights that no expert is below.
LEAST_SHARE = 1e-3


def calibrate_top_p(calibration: PolicyCalibration) -> Parameters:
    """Return the share at which the mean k is the target."""
    return _parameters(calibration, bisect(calibration, lambda share: (share,), (1.0, LEAST)))


def calibrate_threshold(calibration: PolicyCalibration) -> Parameters:
    """Return the multiple of the largest weight at which the mean k is the target."""
    trial = bisect(calibration, lambda multiple: (multiple,), (0.0, 1.0))
    return _parameters(calibration, trial)


def calibrate_entropy(calibration: PolicyCalibration) -> Parameters:
    """Return LOW and HIGH of least loss, of a few pairs whose mean k is the target.

    The first HIGH is 1. Its LOW is the smallest that can reach the target, so the further HIGH are
    between the two.
    """
    first = bisect(calibration, lambda low: (low, 1.0), (0.0, 1.0 - LEAST))
    if first is None:
        return _parameters(calibration, None)
    trials: list[Trial | None] = [first]
    for part in INNER:
        high = rounded(first.number + part * (1 - first.number))
        ends = (first.number, high - LEAST)
        if ends[0] < ends[1]:
            trials.append(bisect(calibration, _pair_below(high), ends, FEW))
    return _parameters(calibration, least_loss(trials))


def calibrate_modes(calibration: PolicyCalibration) -> Parameters:
    """Return thresholds and importances: those of least loss of a few whose mean k is the target.

    The importance of a layer is its loss at the smallest k, over the mean of all layers. For each
    ratio of the two thresholds there is one pair at the target. Without image tokens both
    thresholds are the same.
    """
    importance = layer_importance(calibration)
    ends = (LEAST_SHARE * min(importance), max(importance))
    first = bisect(calibration, _thresholds(RATIOS[0], importance), ends, geometric=True)
    trials = [first]
    if first is not None and calibration.has_images:
        for ratio in RATIOS[1:]:
            many, few = sorted((first.number, first.number / ratio))
            thresholds = _thresholds(ratio, importance)
            trials.append(bisect(calibration, thresholds, (many, few), FEW, geometric=True))
    return _parameters(calibration, least_loss(trials))


def layer_importance(calibration: PolicyCalibration) -> tuple[float, ...]:
    """Return the importance of each MoE layer, with the mean 1; all above 0."""
    losses = [max(_loss_of(layer, calibration), 0.0) for layer in calibration.layers]
    mean = fmean(losses)
    if mean == 0:
        return (1.0,) * len(losses)
    return tuple(rounded(max(loss / mean, LEAST_IMPORTANCE), IMPORTANCE_DIGITS) for loss in losses)


def _loss_of(layer: int, calibration: PolicyCalibration) -> float:
    """Return the loss of a layer at the smallest k: of its own, or of its modalities together."""
    by_layer = calibration.losses_by_layer.get(layer)
    if by_layer:
        return by_layer[min(by_layer)]
    parts = [calibration.losses_by_modality.get((layer, one)) for one in ("text", "image")]
    return sum(part[min(part)] for part in parts if part)


def _pair_below(high: float) -> Callable[[float], Parameters]:
    return lambda low: (low, high)


def _thresholds(ratio: float, importance: tuple[float, ...]) -> Callable[[float], Parameters]:
    return lambda text: (text, rounded(ratio * text), importance)


def _parameters(calibration: PolicyCalibration, trial: Trial | None) -> Parameters:
    if trial is None:
        message = (
            f"No parameters of {calibration.policy} were found with which tokens use at most "
            f"{calibration.target_k:.3g} of {calibration.baseline} experts on average. Use a "
            "larger target, or another policy."
        )
        raise InvalidArgumentError(message)
    return trial.parameters


BY_POLICY: Mapping[str, Callable[[PolicyCalibration], Parameters]] = {
    "top_p": calibrate_top_p,
    "threshold": calibrate_threshold,
    "entropy": calibrate_entropy,
    "modes": calibrate_modes,
}
