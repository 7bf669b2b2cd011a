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


def keep_by_entropy(choice: LayerChoice, low: float, high: float) -> Tensor:
    """Mark as many of the largest weights as the entropy of a token's weights calls for.

    The entropy is that of the weights as shares of their sum, divided by its largest value, the
    logarithm of the number of chosen experts: 0 if one expert has all the weight, 1 if all have
    the same. One expert stays at or below ``low``, all at or above ``high``, and a number in
    proportion between, rounded up.

    This is in the manner of Adaptive-K, which takes the entropy over *all* experts of a router, in
    nats, and steps from one number of experts to the next at thresholds. Only the weights of the
    chosen experts reach the experts module, where policies work in every family; many routers
    have divided them by their sum before.
    """
    weights = choice.weights
    n_chosen = (weights > 0).sum(-1, keepdim=True).clamp_min(1)
    shares = weights / _sums(weights)
    # The logarithm of 1 in place of that of 0: what is multiplied with it is 0.
    entropy = -(shares * shares.masked_fill(shares == 0, 1.0).log()).sum(-1, keepdim=True)
    evenness = entropy / n_chosen.clamp_min(2).log()
    reach = ((evenness - low) / (high - low)).clamp(0.0, 1.0)
    n_kept = (1 + reach * (n_chosen - 1)).ceil()
    order = weights.sort(dim=-1, descending=True, stable=True).indices
    return order.argsort(-1) < n_kept


def keep_important(choice: LayerChoice, text: float, image: float, importance: float) -> Tensor:
    """Mark the experts whose weight times the layer's importance reaches the token's threshold.

    The weights are taken as shares of their sum. ``text`` and ``image`` are the thresholds of the
    two modalities.

    This is in the manner of MoDES (arXiv 2511.15690), which multiplies the importance with the
    router's softmax over all experts. A share of the chosen weights is the same number where the
    router divides the weights by their sum, and has the same meaning in every family.
    """
    assert choice.is_image is not None, "the policy has needs_modality"  # noqa: S101
    is_image = choice.is_image[:, None]
    value = importance * (choice.weights / _sums(choice.weights))
    return ((value >= text) & ~is_image) | ((value >= image) & is_image)


def _sums(weights: Tensor) -> Tensor:
    """Return the sum of each token's weights, (tokens, 1), a tiny number in place of 0."""
    return weights.sum(-1, keepdim=True).clamp_min(1e-30)
