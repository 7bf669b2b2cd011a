"""Register the policies of this package, which drop some of a token's experts by their weights.

``experts_policy=NAME:NUMBER`` selects one; ``uniform`` drops none and is the default. Third
parties add policies through the same hook.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from moe_eval_plugin.override.policies.keep import (
    keep_above_threshold,
    keep_by_entropy,
    keep_important,
    keep_top_p,
)
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.plugins.policy import Policy, PolicyParameter

if TYPE_CHECKING:
    from collections.abc import Iterable


@hookimpl
def moe_eval_register_policies() -> Iterable[Policy]:
    """List the policies of this package."""
    return [
        *_by_weight(),
        Policy(
            name="entropy",
            summary="keep more of the largest weights, the more even a token's weights are",
            parameters=(
                PolicyParameter("low", "the evenness up to which one is kept", includes_low=True),
                PolicyParameter("high", "the evenness from which all are kept"),
            ),
            keep=keep_by_entropy,
            check=lambda low, high: None if low < high else "LOW must be below HIGH",
        ),
        Policy(
            name="modes",
            summary="skip experts whose share of the weights, times the layer's importance, is low",
            parameters=(
                _threshold("text"),
                _threshold("image"),
                PolicyParameter("importance", "the importance of the layer", 0, math.inf),
            ),
            keep=keep_important,
            needs_modality=True,
        ),
    ]


def _threshold(modality: str) -> PolicyParameter:
    meaning = f"the threshold of {modality} tokens"
    return PolicyParameter(modality, meaning, high=math.inf, includes_low=True)


def _by_weight() -> list[Policy]:
    return [
        Policy(
            name="top_p",
            summary="keep the fewest experts whose weights reach a share of the sum of all chosen",
            parameters=(PolicyParameter("share", "the share to reach"),),
            keep=keep_top_p,
        ),
        Policy(
            name="threshold",
            summary="skip experts whose weight is below a multiple of the largest one",
            parameters=(PolicyParameter("multiple", "the multiple of the largest weight"),),
            keep=keep_above_threshold,
        ),
    ]
