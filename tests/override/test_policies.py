"""Policies: which experts are kept, and which options are allowed."""

from __future__ import annotations

import math

import pytest
import torch

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.override.policies.keep import keep_above_threshold, keep_top_p
from moe_eval_plugin.override.policies.parsing import parse_rule
from moe_eval_plugin.plugins import LayerChoice, Policy, PolicyParameter

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


@pytest.mark.parametrize(
    ("policy", "renorm", "rule"),
    [
        (None, None, RoutingRule()),
        ("", "", RoutingRule()),
        ("uniform", "native", RoutingRule()),
        ("top_p:0.9", None, RoutingRule("top_p", (0.9,))),
        ("threshold:.25", "unit", RoutingRule("threshold", (0.25,), "unit")),
        ("top_p:.9/1/0.75", None, RoutingRule("top_p", ((0.9, 1.0, 0.75),))),
        (None, "keep-mass", RoutingRule(renorm="keep-mass")),
    ],
)
def test_options_are_read(policy: str | None, renorm: str | None, rule: RoutingRule) -> None:
    assert parse_rule(policy, renorm) == rule


@pytest.mark.parametrize(
    ("policy", "renorm", "message"),
    [
        ("top_k", None, "top_k is not known. Use one of: uniform, top_p:SHARE, threshold:MULTIPLE"),
        ("uniform:2", None, "experts_policy=uniform is not known"),
        (
            "top_p",
            None,
            "possible: it has 0 of 1 parameters. Write top_p:SHARE, where SHARE is the share to",
        ),
        ("top_p:0.5:0.6", None, "it has 2 of 1 parameters"),
        ("top_p:0.5/0", None, "SHARE=0 is not above 0 and at most 1"),
        ("top_p:0.5/", None, "SHARE=nan is not above 0"),
        ("top_p:0.5/0.6/", None, "SHARE=nan is not above 0"),
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


BAND = Policy(
    name="band",
    summary="keep the weights between two numbers",
    parameters=(
        PolicyParameter("low", "the smallest weight", includes_low=True),
        PolicyParameter("high", "the largest weight", high=math.inf),
    ),
    keep=lambda choice, low, high: (choice.weights >= low) & (choice.weights <= high),
    check=lambda low, high: None if low < high else "LOW must be below HIGH",
)


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ((0.0, 5.0), None),
        (((0.1, 0.2), 0.3), None),
        (((0.1, 0.2), (0.3, 7.0)), None),
        ((0.5,), "it has 1 of 2 parameters"),
        ((-0.1, 5.0), "LOW=-0.1 is not at least 0 and at most 1"),
        ((0.1, math.inf), "HIGH=inf is not above 0"),
        ((0.5, 0.5), "LOW must be below HIGH"),
        (((0.1, 0.4), 0.3), "LOW must be below HIGH"),
        (((0.1, 0.2), (0.3, 0.4, 0.5)), "its lists have 2 and 3 numbers"),
        (((), 0.5), "its lists have 0 numbers"),
    ],
)
def test_several_parameters_are_checked_alone_and_together(
    parameters: tuple[float | tuple[float, ...], ...], fault: str | None
) -> None:
    found = BAND.fault_of(parameters)
    assert (found is None) == (fault is None)
    assert (fault or "") in (found or "")
    assert BAND.help == (
        "band:LOW:HIGH, where LOW is the smallest weight, at least 0 and at most 1, and HIGH is "
        "the largest weight, above 0"
    )
