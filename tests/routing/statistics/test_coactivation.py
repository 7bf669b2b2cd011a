"""Co-activation: FLAME-MoE's conditional probability, and the lift over what loads lead to."""

from __future__ import annotations

import numpy as np
import pytest

from moe_eval_plugin.routing.statistics.coactivation import (
    coactivation,
    expected_pairs,
    pair_counts,
)
from moe_eval_plugin.routing.statistics.options import StudyOptions
from moe_eval_plugin.routing.statistics.tables import ExpertPair
from tests.routing.statistics import slow
from tests.routing.traces import layer_of, random_logits

OPTIONS = StudyOptions()


@pytest.mark.parametrize("k", [2, 3, 8])
def test_the_conditional_probability_is_that_of_flame_moe(k: int) -> None:
    layer = layer_of(random_logits(200), k=k)

    found = coactivation(layer, OPTIONS)

    assert found is not None
    np.testing.assert_allclose(found.conditional, np.array(slow.conditional(layer)), rtol=1e-6)


def test_by_hand() -> None:
    experts = np.array([[0, 1], [1, 0], [0, 1], [2, 0]], np.int16)
    layer = layer_of(random_logits(4, 4), experts=experts, scores=None, entropy=None)

    found = coactivation(layer, StudyOptions(min_expected=1))

    assert found is not None
    assert pair_counts(experts, 4).tolist() == [
        [0, 3, 1, 0],
        [3, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert found.conditional[0].tolist() == [0, 0.75, 0.25, 0]
    assert np.isnan(found.conditional[3]).all()  # never chosen


def test_one_expert_per_token_has_no_partner() -> None:
    assert coactivation(layer_of(random_logits(20), k=1), OPTIONS) is None


def test_random_choices_have_a_lift_of_one_whatever_the_loads() -> None:
    generator = np.random.default_rng(0)
    # Gumbel noise: k draws without replacement, with weights exp(bias).
    logits = generator.normal(size=24) + generator.gumbel(size=(40_000, 24))
    layer = layer_of(logits, k=4)

    found = coactivation(layer, StudyOptions(min_expected=500))

    assert found is not None
    known = found.lift[~np.isnan(found.lift)]
    assert len(known) > 100
    assert np.median(known) == pytest.approx(1, abs=0.01)
    assert np.abs(known - 1).max() < 0.2
    # The product of the loads would be a fifth too large.
    joint = pair_counts(layer.chosen, 24)
    loads = np.bincount(layer.chosen.ravel(), minlength=24)
    naive = joint / (np.outer(loads, loads) / len(logits))
    assert np.median(naive[naive > 0]) < 0.85


def test_expected_pairs_keep_the_loads() -> None:
    layer = layer_of(random_logits(500), k=3)
    counts = np.bincount(layer.chosen.ravel(), minlength=8)

    expected = expected_pairs(counts, 3)

    np.testing.assert_allclose(expected.sum(axis=1), 2 * counts, rtol=1e-6)
    assert (expected == expected.T).all()
    assert (np.diag(expected) == 0).all()


def test_equal_loads_expect_equal_pairs() -> None:
    expected = expected_pairs(np.full(64, 600), 6)

    np.testing.assert_allclose(expected[0, 1:], 600 * 5 / 63)


def test_two_experts_that_always_come_together_are_found() -> None:
    logits = random_logits(4000, 16, seed=3)
    logits[:, 5] = logits[:, 3] + 1e-3
    layer = layer_of(logits, k=4)

    found = coactivation(layer, OPTIONS)

    assert found is not None
    first = found.pairs[0]
    assert (first.first, first.second) == (3, 5)
    assert first.tokens == pair_counts(layer.chosen, 16)[3, 5]
    assert first.lift == pytest.approx(float(found.lift[3, 5]))
    assert first.lift > 2


def test_pairs_of_few_tokens_have_no_lift() -> None:
    layer = layer_of(random_logits(60, 16), k=2)

    found = coactivation(layer, OPTIONS)

    assert found is not None
    expected = expected_pairs(np.bincount(layer.chosen.ravel(), minlength=16), 2)
    assert (np.isnan(found.lift) == (expected < 5)).all()
    assert all(isinstance(pair, ExpertPair) and pair.lift > 0 for pair in found.pairs)
