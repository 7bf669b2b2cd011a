"""Have the parameters of a policy chosen by the plugin that calibrates it, and check them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError, PluginLoadError
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.override.policies.parsing import find_policy
from moe_eval_plugin.plugins.manager import calibrated_parameters
from moe_eval_plugin.plugins.policy_calibration import PolicyCalibration

if TYPE_CHECKING:
    from typing import NoReturn

    import pluggy

    from moe_eval_plugin.experts.schedules.routing_rule import Parameter


class _MeasuringBegins(BaseException):
    """Ends a calibration at its first measurement; no plugin catches it as a fault of its own."""


def check_calibrated(
    name: str, layers: tuple[int, ...], baseline: int, manager: pluggy.PluginManager | None = None
) -> None:
    """Raise ``InvalidArgumentError`` for an unknown policy, and for one that no plugin calibrates.

    Nothing is measured: a plugin is called with made-up losses, up to its first measurement.
    Raises ``PluginLoadError`` where two plugins answer.
    """
    usage = find_policy(name, manager).usage
    losses = {k: 1 - k / baseline for k in range(1, baseline)}
    trial = PolicyCalibration(
        policy=name,
        target=1.0,
        baseline=baseline,
        layers=layers,
        measure=_end,
        n_prompts=1,
        has_images=False,
        losses_by_layer=dict.fromkeys(layers, losses),
        losses_by_modality={},
    )
    try:
        answer = calibrated_parameters(trial, manager)
    except PluginLoadError:
        raise
    except (_MeasuringBegins, Exception):  # noqa: BLE001  (a plugin that answers, if not to this)
        return
    if answer is None:
        raise _not_calibrated(name, usage)


def calibrate_policy(
    name: str, calibration: PolicyCalibration, manager: pluggy.PluginManager | None = None
) -> tuple[Parameter, ...]:
    """Return the parameters that a plugin chose for a policy, measured to keep to the target.

    Without a ``manager``, the installed plugins are used. Raises ``InvalidArgumentError`` for an
    unknown policy, for one that no plugin calibrates, and for a target that no policy can reach;
    ``PluginLoadError``, which names the plugin, for parameters that the policy does not allow or
    that use more experts than the target, and where two plugins answer; and what the plugin
    raises.
    """
    policy = find_policy(name, manager)
    if calibration.target_k < 1:
        message = (
            f"A policy keeps at least one expert of each token, so {name} cannot use only "
            f"{calibration.target:g} of {calibration.baseline} experts. Use a target of at least "
            f"{1 / calibration.baseline:.3g}."
        )
        raise InvalidArgumentError(message)
    answer = calibrated_parameters(calibration, manager)
    if answer is None:
        raise _not_calibrated(name, policy.usage)
    plugin, returned = answer
    parameters = _as_parameters(returned)
    fault = "it is not a list of numbers" if parameters is None else policy.fault_of(parameters)
    if parameters is None or fault is not None:
        message = (
            f"The plugin {plugin} returned {returned!r:.200} as the parameters of {name}: {fault}. "
            f"A policy is written {policy.help}. Update the plugin, or uninstall it with pip."
        )
        raise PluginLoadError(message)
    rule = RoutingRule(name, parameters)
    rule.check_layers(len(calibration.layers), "the model")
    mean_k = calibration.measure(parameters).mean_k
    if mean_k > calibration.target_k:
        message = (
            f"The plugin {plugin} chose {rule.policy_text}, with which tokens use {mean_k:.4g} "
            f"experts on average, and the target allows {calibration.target_k:.4g}. Update the "
            "plugin, or calibrate another policy."
        )
        raise PluginLoadError(message)
    return parameters


def _end(_parameters: object) -> NoReturn:
    raise _MeasuringBegins


def _not_calibrated(name: str, usage: str) -> InvalidArgumentError:
    message = (
        f"No plugin calibrates the policy {name}. Give its numbers yourself, as "
        f"experts_policy={usage}, or use a policy that can be calibrated, for instance top_p. A "
        "plugin calibrates its policy with moe_eval_calibrate_policy "
        "(docs/reference/plugins.md)."
    )
    return InvalidArgumentError(message)


def _as_parameters(returned: object) -> tuple[Parameter, ...] | None:
    """Return what a plugin returned as parameters; ``None`` if it is something else."""
    if not isinstance(returned, list | tuple):
        return None
    found = tuple(_as_parameter(one) for one in returned)
    return None if None in found else tuple(one for one in found if one is not None)


def _as_parameter(value: object) -> Parameter | None:
    values = value if isinstance(value, list | tuple) else (value,)
    try:
        numbers = tuple(float(one) for one in values)
    except (TypeError, ValueError):
        return None
    return numbers if isinstance(value, list | tuple) else numbers[0]
