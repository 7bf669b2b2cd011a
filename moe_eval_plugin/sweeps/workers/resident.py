"""The model of a sweep that stays in memory from point to point, whichever host asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.hosts.harness import LM_EVAL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.workers.progress import Progress


class Resident(Protocol):
    """A model that is loaded at the first point, and set to the k of each point after it."""

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""

    def at(self, point: SweepPoint, model_args: Any, of_the_host: Mapping[str, Any] | None) -> Any:  # noqa: ANN401
        """Return the model at a point, from the arguments that the host passes."""

    def loaded(self) -> Any:  # noqa: ANN401  (the host's)
        """Return the model with nothing kept from the points; it is loaded if none was run."""


def make_resident(
    plan: SweepPlan,
    checked: ModelConfig | None,
    folder: Path,
    settings: Mapping[str, Any],
    input_cache_gib: float | None,
    progress: Progress,
) -> Resident:
    """Return the model of a plan, which is not loaded yet.

    ``checked`` is its configuration where it was read already. ``settings`` are those of the
    sweep in ``folder``. ``input_cache_gib`` is the memory for encoded inputs, where a host lets
    them be kept.
    """
    if plan.host == LM_EVAL:
        from moe_eval_plugin.sweeps.workers.lm_eval_model import LmEvalResident

        return LmEvalResident(plan, folder, progress)
    from moe_eval_plugin.sweeps.workers.lmms_eval_model import LmmsEvalResident

    return LmmsEvalResident(plan, checked, folder, settings, input_cache_gib, progress)
