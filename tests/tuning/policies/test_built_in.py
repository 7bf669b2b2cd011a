"""Calibrated parameters against the best ones of a table whose losses can be computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.tuning.policies.built_in import calibrate_modes, layer_importance
from moe_eval_plugin.tuning.policies.calibrate import calibrate_policy

from .synthetic import K, WeightTable, without_layers


@pytest.mark.parametrize("target", [0.9, 0.5, 0.25, 0.13])
@pytest.mark.parametrize("policy", ["top_p", "threshold"])
def test_one_number_reaches_the_target_in_few_measurements(policy: str, target: float) -> None:
    table = WeightTable()
    parameters = calibrate_policy(policy, table.calibration(policy, target))
    mean_k = table.measured(policy, parameters).mean_k
    assert target * K - 0.01 * K <= mean_k <= target * K
    assert len(set(table.tried)) <= 13


@pytest.mark.parametrize("target", [0.5, 0.25])
def test_entropy_is_nearly_the_best_pair_at_the_target(target: float) -> None:
    table = WeightTable()
    parameters = calibrate_policy("entropy", table.calibration("entropy", target))
    found = table.measured("entropy", parameters)
    grid = [
        table.measured("entropy", (low, high))
        for high in np.linspace(0.1, 1, 19)
        for low in np.linspace(0, high - 0.01, 25)
    ]
    best = min(one.loss for one in grid if one.mean_k <= target * K)
    at_one = min(
        table.measured("entropy", (low, 1.0)).loss
        for low in np.linspace(0, 0.99, 200)
        if table.measured("entropy", (low, 1.0)).mean_k <= target * K
    )
    assert found.mean_k <= target * K
    assert found.loss <= 1.15 * best
    assert found.loss <= 1.02 * at_one
    assert len(set(table.tried)) <= 25


@pytest.mark.parametrize("target", [0.5, 0.25])
def test_modes_is_nearly_the_best_pair_of_thresholds(target: float) -> None:
    table = WeightTable()
    text, image, importance = calibrate_policy("modes", table.calibration("modes", target))
    assert importance == (2.0, 0.833, 0.167)
    assert isinstance(text, float)
    assert isinstance(image, float)
    # What image tokens lose costs a quarter of what text tokens lose.
    assert image > text
    found = table.measured("modes", (text, image, importance))
    assert found.mean_k <= target * K
    grid = np.geomspace(0.001, 2, 30)
    pairs = (table.measured("modes", (t, i, importance)) for t in grid for i in grid)
    best = min(one.loss for one in pairs if one.mean_k <= target * K)
    assert found.loss <= 1.1 * best
    same = calibrate_policy("threshold", table.calibration("threshold", target))
    assert found.loss < table.measured("threshold", same).loss
    assert len(set(table.tried)) <= 45


def test_modes_has_one_threshold_without_images() -> None:
    table = WeightTable(has_images=False)
    text, image, _ = calibrate_policy("modes", table.calibration("modes"))
    assert text == image
    assert len(set(table.tried)) <= 13


def test_importance_is_also_read_from_the_losses_of_modalities() -> None:
    calibration = WeightTable().calibration("modes")
    assert layer_importance(without_layers(calibration)) == layer_importance(calibration)
    losses = {1: {1: 0.0}, 2: {1: -1e-9}, 3: {1: 3.0}}
    assert layer_importance(replace(calibration, losses_by_layer=losses)) == (0.01, 0.01, 3.0)
    nothing = {layer: {1: 0.0} for layer in (1, 2, 3)}
    assert layer_importance(replace(calibration, losses_by_layer=nothing)) == (1.0, 1.0, 1.0)


def test_what_cannot_be_reached_is_said() -> None:
    table = WeightTable()
    even = [weights.clone().fill_(1 / K) for weights in table.weights]
    table.weights = even
    with pytest.raises(InvalidArgumentError, match=r"at most 4 of 8 experts on average. Use a"):
        calibrate_policy("entropy", table.calibration("entropy"))
    with pytest.raises(InvalidArgumentError, match="at most 4 of 8"):
        calibrate_policy("threshold", table.calibration("threshold"))
    assert calibrate_modes(table.calibration("modes"))
