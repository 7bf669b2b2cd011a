"""Built-in policies, which drop some of a token's experts by weight, and their parsing.

``experts_policy=NAME:NUMBER`` selects one. ``uniform`` drops none and is the default. A policy is
called with the weights of the chosen experts of one MoE layer's tokens and marks those to keep; the
expert with the largest weight is always kept. Third parties add policies through
``moe_eval_register_policies``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import RENORMS, UNIFORM, RoutingRule
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.plugins.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


def keep_top_p(weights: Tensor, p: float) -> Tensor:
    """Mark the fewest experts whose weights reach the share ``p`` of the sum of all chosen.

    ``weights`` is (tokens, k); the mask that is returned has the same shape.
    """
    ordered, order = weights.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    keep_ordered = before < p * ordered.sum(-1, keepdim=True)
    return keep_ordered.gather(-1, order.argsort(-1))


def keep_above_threshold(weights: Tensor, beta: float) -> Tensor:
    """Mark the experts whose weight is at least ``beta`` times the largest one.

    ``weights`` is (tokens, k); the mask that is returned has the same shape.

    For two experts this is the dynamic skipping of Lu et al. 2024, "Not All Experts are Equal"
    (arXiv 2402.14800), with one ``beta`` for all layers.
    """
    return weights >= beta * weights.amax(-1, keepdim=True)


@hookimpl
def moe_eval_register_policies() -> Iterable[Policy]:
    """List the policies of this package."""
    return [
        Policy(
            name="top_p",
            summary="keep the fewest experts whose weights reach a share of the sum of all chosen",
            parameter="the share to reach",
            keep=keep_top_p,
        ),
        Policy(
            name="threshold",
            summary="skip experts whose weight is below a multiple of the largest one",
            parameter="the multiple of the largest weight",
            keep=keep_above_threshold,
        ),
    ]


def parse_rule(experts_policy: object, renorm: object) -> RoutingRule:
    """Return the rule of the options ``experts_policy`` and ``renorm``; ``None``: the default.

    Raises ``InvalidArgumentError`` for an unknown policy, a parameter that is missing or out of
    range, and an unknown ``renorm``.
    """
    chosen = "native" if renorm in {None, ""} else str(renorm)
    if chosen not in RENORMS:
        message = f"renorm={chosen} is not known. Use one of: {', '.join(RENORMS)}."
        raise InvalidArgumentError(message)
    text = UNIFORM if experts_policy in {None, ""} else str(experts_policy)
    name, _, number = text.partition(":")
    if name == UNIFORM and not number:
        return RoutingRule(renorm=chosen)
    policy = find_policy(name)
    return RoutingRule(name, _parameter(policy, text, number), chosen)


def find_policy(name: str) -> Policy:
    """Return a registered policy; ``InvalidArgumentError`` lists those that exist."""
    from moe_eval_plugin.plugins.manager import registered_policies

    known = registered_policies()
    if name not in known:
        names = ", ".join([UNIFORM, *(f"{policy}:NUMBER" for policy in known)])
        message = f"experts_policy={name} is not known. Use one of: {names}."
        raise InvalidArgumentError(message)
    return known[name]


def _parameter(policy: Policy, text: str, number: str) -> float:
    try:
        parameter = float(number)
    except ValueError:
        parameter = float("nan")
    if not policy.low < parameter <= policy.high:
        message = (
            f"experts_policy={text} is not possible. Write {policy.name}:NUMBER, where the number "
            f"is {policy.parameter}, above {policy.low:g} and at most {policy.high:g}."
        )
        raise InvalidArgumentError(message)
    return parameter
