"""Build a checked plan from the options of a sweep; no weight is read, no data loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL, harness
from moe_eval_plugin.option_values import argument_parts, read_bool
from moe_eval_plugin.sweeps.plan import SweepPlan, check_model_args
from moe_eval_plugin.sweeps.settings.points import Axes, make_points

if TYPE_CHECKING:
    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.experts.description import MoEDescription

NAMES_OF_MODELS = ("pretrained", "model", "model_version")


@dataclass(frozen=True)
class CheckedPlan:
    """A plan whose points were all checked against the model's configuration.

    ``options`` name the model and its device; ``baseline_added`` is true if the user's points did
    not include the published k.
    """

    plan: SweepPlan
    options: EngineOptions
    model: ModelConfig
    baseline_added: bool


def make_plan(common: SweepPlan, axes: Axes) -> CheckedPlan:
    """Add the points to a plan, and check each against the model's configuration.

    ``common`` is the plan without its points. The configuration is read once. Raises what
    ``ModelConfig.load`` and ``ModelConfig.request`` raise.
    """
    from moe_eval_plugin.engines.checks.vllm_config import register_configuration
    from moe_eval_plugin.engines.expert_request import ModelConfig

    check_model_args(common.model_args, common.host)
    _check_names(common)
    harness(common.host).check_options(common.run())
    options = engine_options(common)
    if common.model.startswith("moe_vllm"):
        register_configuration(options)
    model = ModelConfig.load(options)
    points, added = make_points(model.description, with_schedules(axes, model.description))
    for point in points:
        model.request(point.experts_k, point.experts_policy, point.renorm)
    return CheckedPlan(replace(common, points=points), options, model, added)


def check_machine(plan: SweepPlan) -> None:
    """Raise ``InvalidArgumentError`` for a device or an attention that this machine lacks.

    For a sweep that runs here: with ``ray`` and ``slurm`` other machines run the points. Models of
    lm-eval are checked with their weights.
    """
    from moe_eval_plugin.engines.transformers.options import check_available

    if plan.host == LMMS_EVAL and plan.model == "moe_hf":
        check_available(_hf_options(plan))


def check_weights(checked: CheckedPlan, *, runs_here: bool) -> None:
    """Raise ``UserError`` for a checkpoint that no point could load, before the first one starts.

    Its files are looked at. Where a model of ours runs on this machine with transformers, so are
    its quantisation and its processor with the chat template. Models that are not of this package
    are not checked.
    """
    from moe_eval_plugin.engines.checks.checkpoint import check_checkpoint, check_vllm_files
    from moe_eval_plugin.engines.transformers.loading import check_loadable
    from moe_eval_plugin.engines.transformers.processor import load_processor
    from moe_eval_plugin.models.checkpoint import resolve
    from moe_eval_plugin.models.weights.completeness import check_files

    plan, model = checked.plan, checked.model
    if plan.model.startswith("moe_vllm"):
        load_format = given_arguments(plan).get("load_format")
        check_vllm_files(model.pretrained, model.revision, load_format)
    elif plan.changes_k_live and not runs_here:
        check_files(model.pretrained, model.revision)
    elif plan.changes_k_live and plan.host == LM_EVAL:
        _check_lm_eval_model(plan)
    elif plan.changes_k_live:
        options = _hf_options(plan)
        check_checkpoint(options, model.config)
        check_loadable(options, model.config)
        load_processor(options, resolve(model.pretrained), model.config)


def _check_lm_eval_model(plan: SweepPlan) -> None:
    """Check the arguments of a model of lm-eval as it does itself when it is made."""
    from moe_eval_plugin.hosts.lm_eval.registration import MODELS

    run = plan.run(plan.points[0])
    of_the_host = {"batch_size": plan.batch_size, "device": plan.device}
    model = resolve_name(MODELS[plan.model])
    model.check_arguments(harness(plan.host).read_arguments(run.model_args), of_the_host)


def _hf_options(plan: SweepPlan) -> EngineOptions:
    from moe_eval_plugin.hosts.shared.arguments import join_arguments
    from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments

    return parse_arguments(join_arguments(plan.model_args, {"device": plan.device}))[0]


def _check_names(plan: SweepPlan) -> None:
    """Raise ``InvalidArgumentError`` for an argument or a value that our model does not have.

    Without vLLM nothing is known of its arguments: another machine may run the points. Models of
    lm-eval check theirs when it is known of the checkpoint that it can be read.
    """
    if plan.host != LMMS_EVAL:
        return
    from moe_eval_plugin.hosts.shared.arguments import join_arguments
    from moe_eval_plugin.model_adapters import hf_arguments, vllm_arguments

    of_the_host = {"batch_size": plan.batch_size, "device": plan.device}
    if plan.model == "moe_hf":
        hf_arguments.parse_arguments(join_arguments(plan.model_args, of_the_host))
    elif plan.model == "moe_vllm" and find_spec("vllm") is not None:
        vllm_arguments.parse_arguments(join_arguments(plan.model_args, of_the_host))


def engine_options(plan: SweepPlan) -> EngineOptions:
    """Return the options that name the checkpoint in the arguments of any model."""
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.models.checkpoint import default_pretrained

    given = given_arguments(plan)
    named = [given[name] for name in NAMES_OF_MODELS if given.get(name)]
    return EngineOptions(
        pretrained=named[0] if named else default_pretrained(),
        revision=given.get("revision"),
        trust_remote_code=read_bool("trust_remote_code", given.get("trust_remote_code", "false")),
        device_map=given.get("device_map"),
    )


def given_arguments(plan: SweepPlan) -> dict[str, str]:
    """Return the arguments of a plan's model by name, as text.

    Not strict for lmms-eval: an argument of another package's model may be empty on purpose.
    """
    if plan.host == LMMS_EVAL:
        return dict(part.partition("=")[::2] for part in argument_parts(plan.model_args))
    given = harness(plan.host).read_arguments(plan.model_args)
    return {name: str(value) for name, value in given.items()}


def with_schedules(axes: Axes, description: MoEDescription) -> Axes:
    """Return the values with the published k and its halves, if no schedule is among them."""
    return axes if axes.schedules else replace(axes, schedules=published_k_and_halves(description))


def published_k_and_halves(description: MoEDescription) -> list[str]:
    """List the published k and its halves down to the smallest possible; none for a dense model."""
    from moe_eval_plugin.experts.description import halves

    if not description.is_moe:
        return []
    smallest = description.min_num_experts_per_tok
    return [str(k) for k in halves(description.num_experts_per_tok, smallest)]
