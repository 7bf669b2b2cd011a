"""Register the policies of this package, which drop some of a token's experts by their weights.

``experts_policy=NAME:NUMBER`` selects one; ``uniform`` drops none and is the default. Third
parties add policies through the same hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.override.policies.keep import keep_above_threshold, keep_top_p
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.plugins.policy import Policy, PolicyParameter

if TYPE_CHECKING:
    from collections.abc import Iterable


@hookimpl
def moe_eval_register_policies() -> Iterable[Policy]:
    """List the policies of this package."""
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
