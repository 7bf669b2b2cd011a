"""Which experts each policy keeps, against plain computations of the same rule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from moe_eval_plugin.override.policies.keep import (
    keep_above_threshold,
    keep_by_entropy,
    keep_important,
    keep_top_p,
)
from moe_eval_plugin.override.policies.parsing import find_policy, parse_rule
from moe_eval_plugin.plugins import LayerChoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]])
CHOICE = LayerChoice(WEIGHTS)


@pytest.mark.parametrize(
    ("p", "kept"),
    [(0.4, [1, 2, 1]), (0.41, [2, 2, 1]), (0.7, [2, 3, 1]), (0.98, [4, 4, 2]), (1.0, [4, 4, 4])],
)
def test_top_p_keeps_the_fewest_that_reach_the_share(p: float, kept: list[int]) -> None:
    keep = keep_top_p(CHOICE, p)
    assert keep.sum(-1).tolist() == kept
    worst_kept = WEIGHTS.masked_fill(~keep, 2.0).amin(-1)
    best_dropped = WEIGHTS.masked_fill(keep, -1.0).amax(-1)
    assert bool((worst_kept >= best_dropped).all())


def test_top_p_goes_by_the_share_and_not_by_the_scale() -> None:
    assert torch.equal(keep_top_p(LayerChoice(WEIGHTS * 2.5), 0.7), keep_top_p(CHOICE, 0.7))


@pytest.mark.parametrize(("beta", "kept"), [(0.5, [3, 4, 1]), (0.75, [2, 4, 1]), (1.0, [1, 4, 1])])
def test_threshold_goes_by_the_largest_weight(beta: float, kept: list[int]) -> None:
    assert keep_above_threshold(CHOICE, beta).sum(-1).tolist() == kept


def random_choices() -> list[LayerChoice]:
    """Weights of several k, with ties, and with tokens that have fewer choices than columns."""
    rng = np.random.default_rng(0)
    found = []
    for k in (1, 2, 3, 8):
        weights = rng.dirichlet([0.5] * k, size=60).astype(np.float32)
        weights[:10] = 1 / k
        weights[10:20] = weights[10:20].round(1)
        weights[20:30, k // 2 :] = 0
        weights[30] = 0
        scaled = torch.from_numpy(weights * rng.choice([0.3, 1, 2.5], size=(60, 1)).astype("f4"))
        is_image = torch.from_numpy(rng.random(60) < 0.5)
        found.append(LayerChoice(scaled, layer=1, position=0, is_image=is_image))
    return found


def kept_by_entropy(weights: NDArray[np.float64], low: float, high: float) -> int:
    chosen = weights[weights > 0] / weights.sum() if weights.sum() else np.ones(1)
    if len(chosen) == 1:
        return 1
    evenness = -float((chosen * np.log(chosen)).sum()) / math.log(len(chosen))
    reach = min(max((evenness - low) / (high - low), 0.0), 1.0)
    # Float32 on the other side: an exact number is not told apart from a little more.
    return math.ceil(1 + reach * (len(chosen) - 1) - 1e-5)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.3, 0.9), (0.85, 0.95)])
def test_entropy_keeps_the_largest_weights_in_proportion(low: float, high: float) -> None:
    for choice in random_choices():
        keep = keep_by_entropy(choice, low, high)
        for weights, kept in zip(choice.weights.double().numpy(), keep.numpy(), strict=True):
            expected = kept_by_entropy(weights, low, high)
            assert expected <= kept.sum() <= expected + (expected < (weights > 0).sum())
            assert weights[kept].min() >= weights[~kept].max(initial=0)


def test_entropy_by_hand() -> None:
    keep = keep_by_entropy(CHOICE, 0.0, 1.0)
    # Entropy 1.280 of ln 4 = 1.386: 1 + 0.923 * 3 = 3.77; even weights keep all; 0.168 nats: 1.36.
    assert keep.sum(-1).tolist() == [4, 4, 2]
    assert keep_by_entropy(CHOICE, 0.93, 0.99).sum(-1).tolist() == [1, 4, 1]
    assert keep_by_entropy(CHOICE, 0.9, 1.0).sum(-1).tolist() == [2, 4, 1]


def test_entropy_between_its_numbers_and_at_the_ends() -> None:
    one_has_all = LayerChoice(torch.tensor([[0.0, 2.0, 0.0]]))
    assert keep_by_entropy(one_has_all, 0.0, 0.5).tolist() == [[False, True, False]]
    halves = LayerChoice(torch.tensor([[0.5, 0.0, 0.5, 0.0]]))
    # Two experts were chosen, and both have the same weight: all of them stay.
    assert keep_by_entropy(halves, 0.2, 1.0).tolist() == [[True, False, True, False]]


@pytest.mark.parametrize(("text", "image", "importance"), [(0.1, 0.3, 1.0), (0.4, 0.05, 1.7)])
def test_modes_compares_with_the_threshold_of_the_modality(
    text: float, image: float, importance: float
) -> None:
    for choice in random_choices():
        assert choice.is_image is not None
        weights = choice.weights.double().numpy()
        sums = np.maximum(weights.sum(-1, keepdims=True), 1e-30)
        limit = np.where(choice.is_image.numpy(), image, text)[:, None]
        value = importance * weights / sums
        clear = ~np.isclose(value, limit, rtol=1e-5)
        keep = keep_important(choice, text, image, importance).numpy()
        assert (keep == (value >= limit))[clear].all()
        assert clear.mean() > 0.9


def test_modes_by_hand() -> None:
    is_image = torch.tensor([False, True, True])
    choice = LayerChoice(WEIGHTS * 2.5, is_image=is_image)
    assert keep_important(choice, 0.3, 0.4, 1.6).sum(-1).tolist() == [3, 4, 1]
    assert keep_important(choice, 0.0, 0.5, 1.6).sum(-1).tolist() == [4, 0, 1]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("top_p:0.7", (2, 2)),
        ("threshold:0.25", (3, 3)),
        ("entropy:0.5:1", (3, 3)),
        ("modes:0.1:0.3:1.5", (3, 2)),
    ],
)
def test_the_example_of_the_documentation(policy: str, kept: tuple[int, int]) -> None:
    rule = parse_rule(policy, None)
    weights = torch.tensor([[0.5, 0.3, 0.15, 0.05]] * 2)
    choice = LayerChoice(weights, is_image=torch.tensor([False, True]))
    keep = find_policy(rule.policy).keep(choice, *rule.parameters)
    assert tuple(keep.sum(-1).tolist()) == kept
    pages = Path(__file__).parents[3] / "docs"
    text, image = kept
    shown = f"`{policy}` keeps {text}" + (f" for text, {image} for images" if text != image else "")
    for page in ("reference/policies.md", "how-to/set-k-by-layer-modality-or-phase.md"):
        assert shown in (pages / page).read_text("utf-8")


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_top_p_and_threshold_agree_with_a_loop(share: float) -> None:
    for choice in random_choices():
        by_share, by_multiple = keep_top_p(choice, share), keep_above_threshold(choice, share)
        for row, weights in enumerate(choice.weights.double().numpy()):
            ordered = np.sort(weights)[::-1]
            before = np.concatenate([[0.0], ordered.cumsum()[:-1]])
            at_least, at_most = (
                (before < share * weights.sum() + error).sum() for error in (-1e-6, 1e-6)
            )
            assert at_least <= int(by_share[row].sum()) <= at_most
            assert (
                by_multiple[row].tolist()
                == (choice.weights[row] >= share * choice.weights[row].max()).tolist()
            )


@pytest.mark.parametrize(
    "text", ["top_p:0.5", "threshold:0.5", "entropy:0.2:0.8", "modes:0.1:0.2:1"]
)
def test_no_policy_waits_for_the_device(text: str) -> None:
    rule = parse_rule(text, None)
    # A meta tensor has no values: reading one, as a wait for a device would, is an error.
    with torch.device("meta"):
        choice = LayerChoice(torch.empty(5, 4), is_image=torch.empty(5, dtype=torch.bool))
    keep = find_policy(rule.policy).keep(choice, *rule.parameters)
    assert (keep.shape, keep.dtype, keep.device.type) == ((5, 4), torch.bool, "meta")
