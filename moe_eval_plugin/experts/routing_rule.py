"""Routing rule: the expert-dropping policy and the renormalisation of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

UNIFORM = "uniform"
Renorm = Literal["native", "keep-mass", "unit"]
RENORMS: tuple[Renorm, ...] = get_args(Renorm)


@dataclass(frozen=True)
class RoutingRule:
    """What becomes of the experts that a router chose.

    ``policy`` names a rule that drops experts of a token by their weights (``uniform`` drops
    none), ``parameter`` is its threshold. ``renorm`` tells how the weights of those that are left
    are scaled: ``native``, as the router itself does it; ``keep-mass``, to the sum that the
    baseline k would have; ``unit``, to 1.
    """

    policy: str = "uniform"
    parameter: float | None = None
    renorm: Renorm = "native"

    @property
    def is_native(self) -> bool:
        """Whether the router's own choice and weights are left as they are."""
        return self.policy == "uniform" and self.renorm == "native"

    @property
    def policy_text(self) -> str:
        """The policy as ``experts_policy`` takes it."""
        return self.policy if self.parameter is None else f"{self.policy}:{self.parameter:g}"


NATIVE = RoutingRule()
