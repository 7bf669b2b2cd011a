"""Which of a token's chosen experts the policies of this package keep.

Each function gets the choice of one MoE layer, with weights of (tokens, k), and returns a mask of
the same shape. The caller keeps the expert with the largest weight in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from moe_eval_plugin.plugins.policy import LayerChoice


def keep_top_p(choice: LayerChoice, share: float) -> Tensor:
    """Mark the fewest experts whose weights reach this share of the sum of all chosen."""
    ordered, order = choice.weights.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    keep_ordered = before < share * ordered.sum(-1, keepdim=True)
    return keep_ordered.gather(-1, order.argsort(-1))


def keep_above_threshold(choice: LayerChoice, multiple: float) -> Tensor:
    """Mark the experts whose weight is at least this multiple of the largest one.

    For two experts this is the dynamic skipping of Lu et al. 2024, "Not All Experts are Equal"
    (arXiv 2402.14800), which has one number for each layer.
    """
    return choice.weights >= multiple * choice.weights.amax(-1, keepdim=True)
