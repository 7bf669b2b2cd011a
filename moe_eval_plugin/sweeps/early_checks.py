"""Refuse a sweep that cannot run, before torch, transformers, the host or any data are loaded.

What can be known from the command, from small files and from the folder of the sweep is checked
here, in about a second. The rest is checked when the libraries are there: ``planning`` for the
model, the host for the tasks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.hosts.harness import LM_EVAL, harness, installed_harness
from moe_eval_plugin.hosts.shared.task_data import check_data
from moe_eval_plugin.models.stated_experts import stated_experts
from moe_eval_plugin.sweeps.identity.fingerprint import version_settings
from moe_eval_plugin.sweeps.launchers.choose import check_launcher
from moe_eval_plugin.sweeps.manifest import LOCK, differences, load_manifest, locked
from moe_eval_plugin.sweeps.plan import NEWER, check_model_args
from moe_eval_plugin.sweeps.planning import (
    NAMES_OF_MODELS,
    given_arguments,
    with_schedules,
)
from moe_eval_plugin.sweeps.runner import changed_text, refuse_foreign
from moe_eval_plugin.sweeps.settings.kept_files import check_folder
from moe_eval_plugin.sweeps.settings.points import make_points
from moe_eval_plugin.vqa.dataset import load_easy_vqa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from moe_eval_plugin.sweeps.plan import SweepPlan
    from moe_eval_plugin.sweeps.settings.points import Axes

# Arguments whose values are checked with torch or transformers.
NEED_TORCH = {"attn_implementation", "device", "device_map", "trust_remote_code"}
EASY_VQA = "easy_vqa"
PRETRAINED_VARIABLE = "MOE_EVAL_PRETRAINED"


@dataclass(frozen=True)
class Intent:
    """What is to be done with a plan, as far as the checks depend on it."""

    launcher: str = "local"
    """Where the points run: ``local``, ``ray`` or ``slurm``."""
    dry_run: bool = False
    """Whether nothing is run, so that nothing needs to be installed for it."""
    restart: bool = False
    """Whether results of other settings may be moved aside."""


@dataclass(frozen=True)
class EarlyPlan:
    """A plan with its points, or without where the text of a configuration is not enough."""

    plan: SweepPlan
    baseline_added: bool


def check_early(common: SweepPlan, axes: Axes, folder: Path, intent: Intent) -> EarlyPlan:
    """Raise ``UserError`` for a sweep that cannot run; ``common`` is its plan without points.

    Nothing is written. What passes may still be refused later. Returned is the plan with its
    points, as far as they are known.
    """
    host = installed_harness(common.host)
    host.check_model(common.model)
    check_model_args(common.model_args, common.host)
    pretrained, given = _check_arguments(common)
    host.check_options(common.run())
    host.check_tasks(common.tasks, common.include_path)
    if not intent.dry_run:
        _check_installed(common.model, intent.launcher)
    check_data(_definitions(common.tasks, common.host))
    plan = _with_points(common, axes, pretrained, given.get("revision"))
    check_folder(folder, plan.plan.points)
    _check_folder(plan.plan, folder, intent)
    return plan


def count_early(plan: SweepPlan, folder: Path) -> dict[str, int] | None:
    """Return the questions of each task where that needs no library, for an estimate.

    ``None`` where the points or the tasks are not known, and for a folder with finished points,
    whose settings have to be compared with those of the tasks.
    """
    found = load_manifest(folder)
    schedules = [parse_experts_k(point.experts_k) for point in plan.points]
    host = harness(plan.host)
    if any(point.tuning for point in plan.points):
        return None  # the questions of the tasks are compared with those of the calibration
    needs_torch = NEED_TORCH & host.argument_names(plan.model_args) or plan.device is not None
    is_known = schedules and not any(one and one.names_layers for one in schedules)
    if not is_known or needs_torch or (found is not None and found.has_done):
        return None
    if any(task != EASY_VQA or host.replaces(task, plan.include_path) for task in plan.tasks):
        return None
    n = len(load_easy_vqa().records)
    return {task: min(plan.limit or n, n) for task in plan.tasks}


def _check_arguments(plan: SweepPlan) -> tuple[str, Mapping[str, str]]:
    """Return the model that the arguments name, and all arguments by name."""
    of_the_host = {"batch_size": plan.batch_size, "device": plan.device}
    arguments = partial(harness(plan.host).read_arguments, plan.model_args, of_the_host)
    if plan.host == LM_EVAL:
        arguments()
    elif plan.model == "moe_hf":
        from moe_eval_plugin.model_adapters.hf_arguments import read_arguments

        read_arguments(arguments())
    elif plan.model == "moe_vllm":
        from moe_eval_plugin.model_adapters.vllm_arguments import check_names_in_source

        check_names_in_source(arguments())
    given = given_arguments(plan)
    named = [given[name] for name in NAMES_OF_MODELS if given.get(name)]
    pretrained = named[0] if named else os.environ.get(PRETRAINED_VARIABLE)
    if not pretrained:
        message = (
            "A sweep needs a model, and --model-args names none. Add pretrained=MODEL, a folder or "
            "an id of the Hub, for instance --model-args pretrained=demo for the embedded model, "
            f"or set {PRETRAINED_VARIABLE}."
        )
        raise InvalidArgumentError(message)
    return pretrained, given


def _check_installed(model: str, launcher: str) -> None:
    check_launcher(launcher)
    if model.startswith("moe_vllm") and launcher == "local":
        from moe_eval_plugin.model_adapters.vllm_arguments import check_installed

        check_installed()


def _definitions(tasks: Iterable[str], host: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield our definitions of these tasks for a host, and of those of groups, by name."""
    from moe_eval_plugin.tasks import tasks_path
    from moe_eval_plugin.tasks.listing import read_definition

    for task in tasks:
        path = tasks_path(host) / f"{task}.yaml"
        if not path.is_file():
            continue
        definition = read_definition(path)
        if isinstance(definition["task"], list):
            members = definition["task"]
            yield from _definitions((one for one in members if isinstance(one, str)), host)
            # Tasks of the host, with settings of the group.
            yield from ((one["task"], one) for one in members if not isinstance(one, str))
        else:
            yield task, definition


def _with_points(common: SweepPlan, axes: Axes, pretrained: str, revision: str | None) -> EarlyPlan:
    """Return the plan with its points, as far as the text of the configuration states them."""
    description = stated_experts(pretrained, revision)
    if description is None:
        return EarlyPlan(common, baseline_added=False)
    points, added = make_points(description, with_schedules(axes, description))
    return EarlyPlan(replace(common, points=points), added)


def _check_folder(plan: SweepPlan, folder: Path, intent: Intent) -> None:
    """Refuse the folder of another sweep, of one with other settings, or of one that runs now."""
    found = load_manifest(folder)
    if intent.dry_run:
        return
    if found is None:
        refuse_foreign(folder, plan)
        return
    now = {**NEWER, **plan.own_settings(), **version_settings(plan.host)}
    before = {name: value for name, value in {**NEWER, **found.settings}.items() if name in now}
    changed = differences(before, {name: now[name] for name in before})
    if changed and found.has_done and not intent.restart:
        raise UserError(changed_text(folder, changed))
    if (folder / LOCK).exists():
        with locked(folder):
            pass
