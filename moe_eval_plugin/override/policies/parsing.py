"""Read the options ``experts_policy`` and ``renorm``.

``experts_policy`` is ``NAME:NUMBER:NUMBER`` with a number for each parameter of the policy, or
numbers by MoE layer joined by ``/`` in the place of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import RENORMS, UNIFORM, RoutingRule
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile, read_policy_option

if TYPE_CHECKING:
    import pluggy

    from moe_eval_plugin.experts.schedules.routing_rule import Parameter
    from moe_eval_plugin.plugins.policy import Policy


def parse_rule(experts_policy: object, renorm: object) -> RoutingRule:
    """Return the rule of the options ``experts_policy`` and ``renorm``; ``None``: the default.

    ``experts_policy`` may also be ``@`` and the path of a file of ``moe-eval tune``. Raises
    ``InvalidArgumentError`` for an unknown policy, parameters that are missing or out of range, an
    unknown ``renorm``, and a file that cannot be read.
    """
    chosen = "native" if renorm in {None, ""} else str(renorm)
    if chosen not in RENORMS:
        message = f"renorm={chosen} is not known. Use one of: {', '.join(RENORMS)}."
        raise InvalidArgumentError(message)
    text = UNIFORM if experts_policy in {None, ""} else str(experts_policy)
    file = read_policy_option(text) if text.startswith("@") else TunedFile(policy=text)
    name, *given = str(file.policy).split(":")
    if name == UNIFORM and not given:
        return RoutingRule(renorm=chosen, tuning=file.tuning)
    parameters = _parameters(find_policy(name), str(file.policy), given)
    return RoutingRule(name, parameters, chosen, file.tuning)


def find_policy(name: str, manager: pluggy.PluginManager | None = None) -> Policy:
    """Return a registered policy; ``InvalidArgumentError`` lists those that exist.

    Without a ``manager``, the installed plugins are used.
    """
    from moe_eval_plugin.plugins.manager import registered_policies

    known = registered_policies(manager)
    if name not in known:
        names = ", ".join([UNIFORM, *(policy.usage for policy in known.values())])
        message = f"experts_policy={name} is not known. Use one of: {names}."
        raise InvalidArgumentError(message)
    return known[name]


def _parameters(policy: Policy, text: str, given: list[str]) -> tuple[Parameter, ...]:
    """Read and check the parameters; in messages ``text`` is the whole policy as it was written."""
    parameters = tuple(map(_parameter, given))
    fault = policy.fault_of(parameters)
    if fault is not None:
        message = (
            f"experts_policy={text} is not possible: {fault}. Write {policy.help}. For a number by "
            "MoE layer, join the numbers by /."
        )
        raise InvalidArgumentError(message)
    return parameters


def _parameter(text: str) -> Parameter:
    """Return a number, or numbers by MoE layer; what is no number is read as not a number."""
    first, *others = map(_number, text.split("/"))
    return (first, *others) if others else first


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
