"""Refuse a study that is not possible, before a weight is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.tuning.frontier.targets import check_share_of_experts, considered_ks
from moe_eval_plugin.tuning.policies.calibrate import check_calibrated

if TYPE_CHECKING:
    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.tuning.study.folder import StudyPaths
    from moe_eval_plugin.tuning.study.request import TuneRequest


def check_output(request: TuneRequest, paths: StudyPaths) -> None:
    """Raise ``InvalidArgumentError`` unless the study of a request can be written there."""
    if paths.schedule is not None and len(request.targets) != 1:
        n = len(request.targets) or "all"
        message = (
            f"--output {paths.schedule} is a file for one schedule, and {n} targets are searched. "
            "Pass one --target, or a folder."
        )
        raise InvalidArgumentError(message)
    paths.check_place()


def check_config(request: TuneRequest, config: ModelConfig) -> tuple[int, ...]:
    """Return the k that are considered, after all checks that need the configuration alone.

    Raises ``UserError`` for a model whose k cannot be lowered, for policies that no plugin
    calibrates, and for k, targets and units that are not possible for it.
    """
    description = config.description
    description.raise_if_fixed()
    for name in request.policies:
        check_calibrated(name, config.moe_layers, description.num_experts_per_tok)
    shares = request.targets if request.unit == "experts" else ()
    ks = considered_ks(description, request.experts_k, shares)
    if request.unit == "experts":
        check_share_of_experts(request.targets, ks, description.num_experts_per_tok)
    if request.unit == "flops" and config.cost is None:
        message = (
            f"--unit flops is not possible for {description.model_type}: its FLOPs are not known "
            f"(`moe-eval inspect {config.pretrained}` says why). Use --unit experts or time."
        )
        raise InvalidArgumentError(message)
    return ks
