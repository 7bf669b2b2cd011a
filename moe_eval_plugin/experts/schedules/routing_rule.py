"""Routing rule: the policy that drops experts, and the renormalisation of their weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from typing import TypeAlias

    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord

    # A number, or numbers by MoE layer.
    Parameter: TypeAlias = "float | tuple[float, ...]"

UNIFORM = "uniform"
Renorm = Literal["native", "keep-mass", "unit"]
RENORMS: tuple[Renorm, ...] = get_args(Renorm)


@dataclass(frozen=True)
class RoutingRule:
    """How the experts that a router chose are dropped and their weights renormalised."""

    policy: str = UNIFORM
    """Name of the rule that drops experts of a token; ``uniform`` drops none."""
    parameters: tuple[Parameter, ...] = ()
    """Parameters of the policy: each a number, or a tuple of numbers by MoE layer."""
    renorm: Renorm = "native"
    """How the weights of the kept experts are scaled.

    ``native``, as the router itself does it; ``keep-mass``, to the sum that they have at the
    baseline k; ``unit``, to 1.
    """
    tuning: TuningRecord | None = field(default=None, compare=False)
    """Where the parameters come from, if they were read from a file of ``moe-eval tune``."""

    @property
    def is_native(self) -> bool:
        """Whether the router's own choice and weights are kept."""
        return self.policy == UNIFORM and self.renorm == "native"

    @property
    def policy_text(self) -> str:
        """The policy in the form of the option ``experts_policy``."""
        return ":".join([self.policy, *map(_parameter_text, self.parameters)])

    @property
    def names_layers(self) -> bool:
        """Whether a parameter has numbers by MoE layer."""
        return any(isinstance(one, tuple) for one in self.parameters)

    def check_layers(self, n_layers: int, model: str) -> None:
        """Raise ``InvalidArgumentError`` unless numbers by layer are as many as MoE layers."""
        lengths = {len(one) for one in self.parameters if isinstance(one, tuple)}
        if lengths - {n_layers}:
            message = (
                f"experts_policy={self.policy_text} has {max(lengths - {n_layers})} numbers joined "
                f"by /, and {model} has {n_layers} MoE layers. Write one number for each MoE layer "
                "in their order, or a single number for all of them."
            )
            raise InvalidArgumentError(message)


NATIVE = RoutingRule()


def number_text(number: float) -> str:
    """Return the shortest text from which the same number is read."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _parameter_text(parameter: Parameter) -> str:
    if isinstance(parameter, tuple):
        return "/".join(map(number_text, parameter))
    return number_text(parameter)
