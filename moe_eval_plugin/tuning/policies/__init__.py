"""Calibrate the policies of this package, through the same hook as those of third parties.

The plugin manager imports this module in every run, so its own modules are imported late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.plugins.policy_calibration import PolicyCalibration


@hookimpl
def moe_eval_calibrate_policy(
    calibration: PolicyCalibration,
) -> Sequence[float | tuple[float, ...]] | None:
    """Return the parameters of a policy of this package; ``None`` for another one."""
    from moe_eval_plugin.tuning.policies.built_in import BY_POLICY

    calibrate = BY_POLICY.get(calibration.policy)
    return calibrate(calibration) if calibrate else None
