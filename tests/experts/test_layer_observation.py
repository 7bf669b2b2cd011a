from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moe_eval_plugin.experts.layer_observation import LayerObservation


@settings(deadline=None)
@given(load=st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(any))
def test_entropy_is_scipys_over_its_largest_value(load: list[int]) -> None:
    layer = LayerObservation(len(load), 0, load=tuple(load))
    assert layer.load_entropy == pytest.approx(stats.entropy(load, base=len(load)), abs=1e-12)


@settings(deadline=None)
@given(load=st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(any))
def test_gini_is_half_the_relative_mean_difference(load: list[int]) -> None:
    layer = LayerObservation(len(load), 0, load=tuple(load))
    differences = np.abs(np.subtract.outer(load, load)).mean()
    assert layer.load_gini == pytest.approx(differences / (2 * np.mean(load)), abs=1e-9)


def test_statistics_of_load_at_their_ends() -> None:
    even, single = (LayerObservation(4, 0, load=load) for load in ((7, 7, 7, 7), (0, 9, 0, 0)))
    assert (even.load_entropy, even.load_gini, even.unused_experts) == (1, 0, ())
    assert (single.load_entropy, single.load_gini) == (0, 0.75)
    assert single.unused_experts == (0, 2, 3)


def test_experts_that_compute_nothing_carry_no_load() -> None:
    layer = LayerObservation(2, 2, load=(3, 3, 50, 0))
    assert layer.expert_load == (3, 3)
    assert (layer.load_entropy, layer.unused_experts) == (1, ())
