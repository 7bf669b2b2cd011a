"""``Policy``: a rule that drops chosen experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class Policy:
    """One rule for dropping experts.

    ``keep`` takes the weights of the chosen experts (tokens, k), none below 0 and in no order,
    and the parameter; it returns which to keep, as booleans (tokens, k). ``parameter`` says in
    words what the number means; it must be above ``low`` and at most ``high``.
    """

    name: str
    summary: str
    parameter: str
    keep: Callable[[Tensor, float], Tensor]
    low: float = 0.0
    high: float = 1.0
