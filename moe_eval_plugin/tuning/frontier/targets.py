"""The k that are considered, and the targets for which schedules are searched."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.tuning.prices.prices import shown_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.tuning.prices.prices import Prices

# So many k below the published one are considered unless others are asked for.
MOST_KS = 7


def considered_ks(
    description: MoEDescription, given: Sequence[int] = (), targets: Sequence[float] = ()
) -> tuple[int, ...]:
    """Return the k below the published one that are considered, from small to large.

    By default all of them, or seven at equal distances where there are more, with the largest k of
    each of ``targets``, shares of the published k, so that schedules are compared with it. Raises
    ``InvalidArgumentError`` for a k that is not below the published one, or that routers cannot
    use, and for a model without a smaller k.
    """
    published, least = description.num_experts_per_tok, description.min_num_experts_per_tok
    if published <= least:
        message = (
            f"{description.model_type} uses {published} experts per token as published, and no "
            "fewer are possible: there is nothing to choose."
        )
        raise InvalidArgumentError(message)
    for k in given:
        if not least <= k < published:
            message = (
                f"--experts-k {k} is not possible: schedules are made of the published k, "
                f"{published}, and smaller ones. Use {least} to {published - 1}."
            )
            raise InvalidArgumentError(message)
    if given:
        return tuple(sorted(set(given)))
    n = min(MOST_KS, published - least)
    spread = {least + i * (published - least) // n for i in range(n)}
    uniform = {math.floor(Fraction(str(target)) * published) for target in targets}
    return tuple(sorted(spread | {k for k in uniform if least <= k < published}))


def read_targets(given: Sequence[float]) -> tuple[float, ...]:
    """Return targets from large to small, each once.

    Raises ``InvalidArgumentError`` unless each is between 0 and 1: a share of the published price.
    """
    for target in given:
        if not 0 < target < 1:
            message = (
                f"--target {target:g} is not possible: it is a share of the price of the published "
                "model. Use a number between 0 and 1, for instance 0.5."
            )
            raise InvalidArgumentError(message)
    return tuple(sorted(set(given), reverse=True))


def check_share_of_experts(targets: Sequence[float], ks: Sequence[int], published: int) -> None:
    """Raise ``InvalidArgumentError`` for a target in experts below the least of these k.

    It needs no prompts, so that such a target is refused before a weight is read.
    """
    least = min(ks) / published
    for target in targets:
        if target < least:
            message = (
                f"--target {target:g} is not possible: with k={min(ks)} in every layer the model "
                f"uses {least:.4g} of the routed experts of the published one (k={published}). "
                f"Use {shown_target(least):g} or more."
            )
            raise InvalidArgumentError(message)


def uniform_targets(prices: Prices) -> tuple[float, ...]:
    """Return the price of each uniform k below the published one, from large to small."""
    shares = [prices.share(prices.uniform(k)) for k in prices.ks if k < prices.baseline]
    targets = {shown_target(share) for share in shares}
    return tuple(sorted((one for one in targets if one < 1), reverse=True))
