"""``Policy``: a rule that drops some of a token's chosen experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class Policy:
    """One rule for dropping chosen experts, with one number as its parameter."""

    name: str
    """Name in ``experts_policy=NAME:NUMBER``."""
    summary: str
    """What the rule keeps, in one line."""
    parameter: str
    """Meaning of the number, in words."""
    keep: Callable[[Tensor, float], Tensor]
    """Maps the weights of the chosen experts and the number to the experts to keep.

    The weights, (tokens, k) in float32, are none below 0 and in no order; the result is boolean,
    (tokens, k). It runs in each MoE layer and forward pass, so it must not wait for the device.
    """
    low: float = 0.0
    """The number must be above this."""
    high: float = 1.0
    """The number must be at most this."""
