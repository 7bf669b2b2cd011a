"""Routing rule: the policy that drops experts, and the renormalisation of their weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord

UNIFORM = "uniform"
Renorm = Literal["native", "keep-mass", "unit"]
RENORMS: tuple[Renorm, ...] = get_args(Renorm)


@dataclass(frozen=True)
class RoutingRule:
    """How the experts that a router chose are dropped and their weights renormalised.

    ``policy`` names a rule that drops experts of a token by their weights (``uniform`` drops
    none), ``parameter`` is its threshold. ``renorm`` defines how the weights of the kept experts
    are scaled: ``native``, as the router itself does it; ``keep-mass``, to the sum that they have
    at the baseline k; ``unit``, to 1.
    """

    policy: str = UNIFORM
    parameter: float | None = None
    renorm: Renorm = "native"
    tuning: TuningRecord | None = field(default=None, compare=False)
    """Where the parameters come from, if they were read from a file of ``moe-eval tune``."""

    @property
    def is_native(self) -> bool:
        """Whether the router's own choice and weights are kept."""
        return self.policy == UNIFORM and self.renorm == "native"

    @property
    def policy_text(self) -> str:
        """The policy in the form of the option ``experts_policy``."""
        return self.policy if self.parameter is None else f"{self.policy}:{self.parameter:g}"


NATIVE = RoutingRule()
