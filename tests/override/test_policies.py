"""Policies: which experts are kept, and which options are allowed."""

from __future__ import annotations

import pytest
import torch

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.override.policies import keep_above_threshold, keep_top_p, parse_rule

WEIGHTS = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]])


@pytest.mark.parametrize(
    ("p", "kept"),
    [(0.4, [1, 2, 1]), (0.41, [2, 2, 1]), (0.7, [2, 3, 1]), (0.98, [4, 4, 2]), (1.0, [4, 4, 4])],
)
def test_top_p_keeps_the_fewest_that_reach_the_share(p: float, kept: list[int]) -> None:
    keep = keep_top_p(WEIGHTS, p)
    assert keep.sum(-1).tolist() == kept
    worst_kept = WEIGHTS.masked_fill(~keep, 2.0).amin(-1)
    best_dropped = WEIGHTS.masked_fill(keep, -1.0).amax(-1)
    assert bool((worst_kept >= best_dropped).all())


def test_top_p_goes_by_the_share_and_not_by_the_scale() -> None:
    assert torch.equal(keep_top_p(WEIGHTS * 2.5, 0.7), keep_top_p(WEIGHTS, 0.7))


@pytest.mark.parametrize(("beta", "kept"), [(0.5, [3, 4, 1]), (0.75, [2, 4, 1]), (1.0, [1, 4, 1])])
def test_threshold_goes_by_the_largest_weight(beta: float, kept: list[int]) -> None:
    assert keep_above_threshold(WEIGHTS, beta).sum(-1).tolist() == kept


@pytest.mark.parametrize(
    ("policy", "renorm", "rule"),
    [
        (None, None, RoutingRule()),
        ("", "", RoutingRule()),
        ("uniform", "native", RoutingRule()),
        ("top_p:0.9", None, RoutingRule("top_p", 0.9)),
        ("threshold:.25", "unit", RoutingRule("threshold", 0.25, "unit")),
        (None, "keep-mass", RoutingRule(renorm="keep-mass")),
    ],
)
def test_options_are_read(policy: str | None, renorm: str | None, rule: RoutingRule) -> None:
    assert parse_rule(policy, renorm) == rule


@pytest.mark.parametrize(
    ("policy", "renorm", "message"),
    [
        ("top_k", None, "top_k is not known. Use one of: uniform, top_p:NUMBER, threshold:NUMBER"),
        ("uniform:2", None, "uniform:2|uniform is not known"),
        ("top_p", None, "experts_policy=top_p is not possible. Write top_p:NUMBER"),
        ("top_p:0", None, "above 0 and at most 1"),
        ("threshold:1.5", None, "above 0 and at most 1"),
        ("threshold:nan", None, "above 0 and at most 1"),
        ("threshold:half", None, "threshold:half"),
        (None, "softmax", "renorm=softmax is not known. Use one of: native, keep-mass, unit"),
    ],
)
def test_what_is_not_possible_is_refused(
    policy: str | None, renorm: str | None, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_rule(policy, renorm)
