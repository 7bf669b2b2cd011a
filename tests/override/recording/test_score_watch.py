"""Scores are those of a softmax or sigmoid that agrees with the weights, and none otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from moe_eval_plugin.override.recording.score_watch import ScoreWatch

if TYPE_CHECKING:
    from collections.abc import Callable

E, K = 8, 3
LOGITS = torch.randn(20, E, generator=torch.Generator().manual_seed(0))
BIAS = torch.randn(E, generator=torch.Generator().manual_seed(1))

Choice = tuple[torch.Tensor, torch.Tensor]


def softmax_first() -> Choice:
    weights, experts = LOGITS.softmax(-1).topk(K)
    return experts, weights / weights.sum(-1, keepdim=True) * (1 + experts)  # a scale by expert


def sigmoid_and_bias() -> Choice:
    scores = LOGITS.sigmoid()
    experts = (scores + BIAS).topk(K, sorted=False).indices
    return experts, scores.gather(-1, experts) * 2.5


def softmax_of_the_chosen() -> Choice:
    values, experts = LOGITS.topk(K)
    return experts, values.softmax(-1)


def sigmoid_of_the_chosen() -> Choice:
    values, experts = LOGITS.sort(descending=True)
    return experts[:, :K], values[:, :K].sigmoid()


def logits_and_bias() -> Choice:
    logits = LOGITS * 1.0
    experts = (logits + BIAS).topk(K).indices
    return experts, logits.gather(-1, experts).sigmoid()


def single() -> Choice:
    values, experts = LOGITS.topk(1)
    return experts, values.sigmoid()


def masked_single() -> Choice:
    values, experts = LOGITS.topk(1)
    masked = torch.full_like(LOGITS, -torch.inf).scatter(-1, experts, values)
    return experts, masked.sigmoid().gather(-1, experts)


def batched() -> Choice:
    scores = LOGITS.reshape(4, 5, E).softmax(-1)
    experts = (scores + BIAS).topk(K).indices
    return experts.flatten(0, 1), scores.gather(-1, experts).flatten(0, 1)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (softmax_first, LOGITS.softmax(-1)),
        (sigmoid_and_bias, LOGITS.sigmoid()),
        (softmax_of_the_chosen, LOGITS.softmax(-1)),
        (sigmoid_of_the_chosen, LOGITS.sigmoid()),
        (logits_and_bias, LOGITS.sigmoid()),
        (single, LOGITS.sigmoid()),
        (masked_single, LOGITS.sigmoid()),
        (batched, LOGITS.softmax(-1)),
    ],
)
def test_scores_are_those_that_the_router_used(
    route: Callable[[], Choice], expected: torch.Tensor
) -> None:
    watch = ScoreWatch([E])
    with watch.watching():
        experts, weights = route()
    found = watch.scores_of(experts, weights)
    assert found is not None
    assert found.scores is not None
    torch.testing.assert_close(found.scores, expected)
    best = found.selection.topk(experts.shape[1]).indices.sort(-1).values
    assert torch.equal(best, experts.sort(-1).values)


def test_another_function_of_the_logits_is_no_probability() -> None:
    watch = ScoreWatch([E])
    with watch.watching():
        scores = torch.nn.functional.softplus(LOGITS).sqrt()
        weights, experts = scores.topk(K)
    found = watch.scores_of(experts, weights)
    assert found is not None
    assert found.scores is None
    torch.testing.assert_close(found.selection, scores)


def test_a_renormalised_single_weight_shows_no_scores() -> None:
    watch = ScoreWatch([E])
    with watch.watching():
        experts = LOGITS.topk(1).indices
    found = watch.scores_of(experts, torch.ones(20, 1))
    assert found is not None
    assert found.scores is None


def test_a_choice_that_is_not_the_largest_entries_is_not_explained() -> None:
    watch = ScoreWatch([E])
    with watch.watching():
        experts, weights = softmax_first()
    assert watch.scores_of((experts + 1) % E, weights) is None
    assert watch.scores_of(experts[:10], weights[:10]) is None
    watch.forget()
    assert watch.scores_of(experts, weights) is None


def test_functions_outside_the_block_are_not_watched() -> None:
    watch = ScoreWatch([E])
    with watch.watching():
        pass
    experts, weights = softmax_first()
    assert watch.scores_of(experts, weights) is None
