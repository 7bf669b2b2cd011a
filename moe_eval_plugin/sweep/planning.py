"""From what the user wrote to a plan that is checked: no weight is read, no data loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.sweep.plan import SweepPlan, check_model_args, make_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.experts.description import MoEDescription

NAMES_OF_MODELS = ("pretrained", "model", "model_version")


@dataclass(frozen=True)
class Axes:
    """The values to combine; no ``schedules`` stands for the published k and its halves."""

    schedules: Sequence[str] = ()
    policies: Sequence[str] = ("uniform",)
    renorms: Sequence[str] = ("native",)
    seeds: Sequence[int] = ()


def make_plan(common: SweepPlan, axes: Axes) -> tuple[SweepPlan, EngineOptions, bool]:
    """Put the points into a plan; the last value tells whether the baseline was added.

    ``common`` is the plan without its points. Every point is checked against the model's
    configuration; raises what ``checkpoint.load_config`` and ``check_request`` raise.
    """
    from moe_eval_plugin.engines.transformers.options import check_request
    from moe_eval_plugin.models.checkpoint import load_config
    from moe_eval_plugin.models.families import describe

    check_model_args(common.model_args)
    wanted = _engine_options(common.model_args)
    config = load_config(
        wanted.pretrained, wanted.revision, trust_remote_code=wanted.trust_remote_code
    )
    description = describe(config)
    schedules = axes.schedules or _halves(description)
    points, added = make_points(description, schedules, axes.policies, axes.renorms, axes.seeds)
    for point in points:
        check_request(
            replace(
                wanted,
                experts_k=point.experts_k,
                experts_policy=point.experts_policy,
                renorm=point.renorm,
            )
        )
    return replace(common, points=points), wanted, added


def _engine_options(model_args: str) -> EngineOptions:
    """Read from the arguments of any model which checkpoint they name."""
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.models.checkpoint import default_pretrained

    given = dict(part.partition("=")[::2] for part in model_args.split(",") if part)
    named = [given[name] for name in NAMES_OF_MODELS if given.get(name)]
    return EngineOptions(
        pretrained=named[0] if named else default_pretrained(),
        revision=given.get("revision"),
        trust_remote_code=given.get("trust_remote_code", "").lower() == "true",
        device_map=given.get("device_map"),
    )


def _halves(description: MoEDescription) -> list[str]:
    from moe_eval_plugin.experts.description import halves

    if not description.is_moe:
        return []
    smallest = description.min_num_experts_per_tok
    return [str(k) for k in halves(description.num_experts_per_tok, smallest)]
