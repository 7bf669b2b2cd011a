"""``moe-eval sweep``: the same questions at each k, with a results file for each."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.commands.sweep_progress import Show
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.hosts.lmms_eval.in_process import Host
    from moe_eval_plugin.sweep.launchers.launcher import Launcher, Work
    from moe_eval_plugin.sweep.plan import SweepPlan
    from moe_eval_plugin.sweep.planning import CheckedPlan

DESCRIPTION = """\
Ask a model the same questions at each number of experts, the published one first, and leave a
standard results file of lmms-eval for each: accuracy, speed and the k that was observed.

With moe_hf, one process loads the weights and the data once, encodes the inputs once, and changes
k on the loaded model; each k is verified before its first answer. Other models get a process of
lmms-eval's own command for each point.

A sweep that was interrupted goes on with the same command: what is done is kept, and of a point
that was under way at most one batch is lost. If a setting changed since, the sweep is refused.
"""
EPILOG = """\
examples:
  moe-eval sweep --model-args pretrained=demo --experts-k 8 7 6 5 4 3 2 1 --tasks easy_vqa \\
    --output runs/demo
  moe-eval sweep --model-args pretrained=Qwen/Qwen3-VL-30B-A3B-Instruct --tasks okvqa vqa_v2_val \\
    --batch-size 16 --output runs/qwen3-vl
  moe-eval sweep --model moe_hf moe_vllm --experts-k 8 4 2 --tasks okvqa --output runs/both \\
    --model-args pretrained=Qwen/Qwen3-VL-30B-A3B-Instruct
  moe-eval sweep --model-args pretrained=demo --experts-k 8/image:2 8/image:4 4 --tasks easy_vqa \\
    --output runs/images --dry-run

exit code: 0, or 1 if a point failed
"""
MOE_HF = "moe_hf"
LAUNCHERS = ("local", "ray", "slurm")


def add(verbs: Subcommands) -> None:
    """Add the verb to the command."""
    verb = add_verb(verbs, "sweep", run, "ask the same questions at each k", (DESCRIPTION, EPILOG))
    _add_points(verb)
    _add_questions(verb)
    _add_running(verb)
    verb.add_argument("--json", action="store_true", help="print JSON at the end, not a table")


def _add_points(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--model",
        nargs="+",
        default=[MOE_HF],
        metavar="NAME",
        help="of lmms-eval (default: moe_hf); several are swept one after the other, each into a "
        "folder of its name below --output",
    )
    verb.add_argument(
        "--model-args",
        nargs="+",
        default=[""],
        metavar="NAME=VALUE,...",
        help="arguments of the model, without those that differ between points; with several "
        "models one for all, or one for each",
    )
    verb.add_argument(
        "--experts-k",
        nargs="+",
        default=[],
        metavar="K",
        help="numbers or schedules (default: the published k, and its halves down to 1)",
    )
    verb.add_argument(
        "--experts-policy",
        nargs="+",
        default=["uniform"],
        metavar="NAME:NUMBER",
        help="rules that drop experts, each combined with each k (default: uniform)",
    )
    verb.add_argument(
        "--renorm", nargs="+", default=["native"], metavar="NAME", help="native, keep-mass, unit"
    )
    verb.add_argument(
        "--seeds", nargs="+", type=int, default=[], metavar="N", help="repeat all with each seed"
    )


def _add_questions(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--tasks", nargs="+", required=True, metavar="TASK", help="tasks of lmms-eval, ours too"
    )
    verb.add_argument("--limit", type=int, metavar="N", help="questions of each task")
    verb.add_argument(
        "--batch-size", default="1", metavar="N", help="questions at once, or auto (default: 1)"
    )
    verb.add_argument("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    verb.add_argument("--gen-kwargs", metavar="NAME=VALUE,...", help="as in lmms-eval")
    verb.add_argument("--include-path", metavar="FOLDER", help="a folder with more tasks")


def _add_running(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="where everything is left"
    )
    verb.add_argument(
        "--dry-run", action="store_true", help="show points, questions, time and memory, and stop"
    )
    verb.add_argument(
        "--restart",
        action="store_true",
        help="if settings changed, move what is there aside and begin anew",
    )
    verb.add_argument(
        "--launcher", choices=LAUNCHERS, default="local", help="where points run (default: local)"
    )
    verb.add_argument(
        "--gpus-per-point",
        type=float,
        default=0,
        metavar="N",
        help="for ray and slurm; default: 0",
    )
    verb.add_argument(
        "--launcher-options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of ray.init (address, num_cpus), or of submitit (slurm_partition, timeout_min)",
    )
    verb.add_argument(
        "--separate", action="store_true", help="a process of lmms-eval for each point, moe_hf too"
    )
    verb.add_argument(
        "--processes-per-point",
        type=int,
        default=1,
        metavar="N",
        help="share the questions of a point among processes of accelerate (default: 1)",
    )
    verb.add_argument(
        "--input-cache-gib",
        type=float,
        metavar="GIB",
        help="RAM for encoded inputs; beyond it they are encoded again (default: a quarter of "
        "what is free)",
    )


def run(options: argparse.Namespace) -> int:
    """Sweep, and print the table as it grows; 1 if a point failed."""
    from moe_eval_plugin.sweep.planning import Axes, make_plan

    _check(options)
    axes = Axes(options.experts_k, options.experts_policy, options.renorm, options.seeds)
    # All are checked before the first one runs.
    made = [(own, make_plan(_common(own), axes)) for own in _by_model(options)]
    return max(_run_one(own, checked) for own, checked in made)


def _by_model(options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """Yield the options of each model, with a folder of its own where there are several."""
    models, model_args = options.model, options.model_args
    if len(set(models)) < len(models) or len(model_args) not in {1, len(models)}:
        message = (
            f"--model {' '.join(models)} with {len(model_args)} --model-args is not possible. Name "
            "each model once, and give one --model-args for all, or one for each in their order."
        )
        raise InvalidArgumentError(message)
    if options.json and len(models) > 1:
        message = "--json is about one model. Leave it out, or sweep the models one by one."
        raise InvalidArgumentError(message)
    for place, model in enumerate(models):
        own = argparse.Namespace(**vars(options))
        own.model, own.model_args = model, model_args[place % len(model_args)]
        own.output = options.output / model if len(models) > 1 else options.output
        yield own


def _run_one(options: argparse.Namespace, checked: CheckedPlan) -> int:
    """Sweep over one model."""
    plan, wanted = checked.plan, checked.options
    notes = sys.stderr if options.json else sys.stdout
    if checked.baseline_added:
        print(f"The baseline, {plan.points[0].name}, was added: it comes first.", file=notes)
    host, settings = _read_tasks(plan, wanted)
    if options.dry_run:
        return _dry_run(options, plan, wanted, host, settings)
    return _sweep(options, checked, host, settings)


def _check(options: argparse.Namespace) -> None:
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        message = (
            "A sweep is one process; it was started as one of several. Start it as it is, and "
            "let it share the questions of a point with --processes-per-point N."
        )
        raise InvalidArgumentError(message)
    for name in ("limit", "processes_per_point"):
        value = getattr(options, name)
        if value is not None and value < 1:
            message = f"--{name.replace('_', '-')} {value} is not possible. Give 1 or more."
            raise InvalidArgumentError(message)
    if options.input_cache_gib is not None and options.input_cache_gib < 0:
        message = f"--input-cache-gib {options.input_cache_gib} is not possible. Give 0 or more."
        raise InvalidArgumentError(message)


def _common(options: argparse.Namespace) -> SweepPlan:
    from moe_eval_plugin.sweep.plan import SweepPlan

    tasks = [name for given in options.tasks for name in given.split(",") if name]
    return SweepPlan(
        model=options.model,
        model_args=options.model_args,
        tasks=tuple(dict.fromkeys(tasks)),
        points=(),
        limit=options.limit,
        batch_size=options.batch_size,
        device=options.device,
        gen_kwargs=options.gen_kwargs,
        include_path=options.include_path,
    )


def _read_tasks(plan: SweepPlan, wanted: EngineOptions) -> tuple[Host, dict[str, Any]]:
    """Load the tasks with their data, and collect what numbers depend on."""
    from moe_eval_plugin.hosts.lmms_eval.in_process import Host
    from moe_eval_plugin.sweep.fingerprint import model_settings, version_settings

    host = Host(plan.model, plan.tasks, plan.include_path)
    settings = {
        **plan.own_settings(),
        **model_settings(wanted.pretrained, wanted.revision),
        **host.settings(),
        **version_settings(),
    }
    return host, settings


def _dry_run(
    options: argparse.Namespace,
    plan: SweepPlan,
    wanted: EngineOptions,
    host: Host,
    settings: Mapping[str, Any],
) -> int:
    from moe_eval_plugin.sweep.estimate import estimate, render_estimate

    found = estimate(plan, wanted, host.n_questions(plan.limit), options.output, settings)
    print(json.dumps(found.to_dict(), indent=2) if options.json else render_estimate(found))
    return 0


def _sweep(
    options: argparse.Namespace, checked: CheckedPlan, host: Host, settings: dict[str, Any]
) -> int:
    from moe_eval_plugin.commands.sweep_progress import Show
    from moe_eval_plugin.sweep.manifest import locked
    from moe_eval_plugin.sweep.runner import open_manifest

    plan, folder = checked.plan, options.output.resolve()
    with locked(folder):
        manifest = open_manifest(folder, plan, settings, restart=options.restart)
        manifest.command = ("moe-eval", *sys.argv[1:])
        manifest.save()
        show = Show(plan, manifest, sum(host.n_questions(plan.limit).values()), options)
        with ExitStack() as stack:
            stack.callback(show.close)
            launcher, work = _means(options, checked, host, settings, show, stack)
            show.run(launcher, work)
    return show.finish()


def _means(
    options: argparse.Namespace,
    checked: CheckedPlan,
    host: Host,
    settings: Mapping[str, Any],
    show: Show,
    stack: ExitStack,
) -> tuple[Launcher, Work]:
    """Choose where points run and what makes them."""
    from moe_eval_plugin.sweep.launchers.choose import make_launcher
    from moe_eval_plugin.sweep.launchers.launcher import LocalLauncher
    from moe_eval_plugin.sweep.workers.child_process import ChildProcessWorker
    from moe_eval_plugin.sweep.workers.in_process import InProcessWorker

    plan, folder = checked.plan, options.output.resolve()
    alone = options.separate or options.processes_per_point > 1 or plan.model != MOE_HF
    if options.launcher != "local" or alone:
        own = dict(option.partition("=")[::2] for option in options.launcher_options)
        launcher = make_launcher(options.launcher, options.gpus_per_point, folder, own)
        return launcher, ChildProcessWorker(plan, folder, options.processes_per_point)
    live = InProcessWorker(
        plan, checked.model, host, folder, settings, options.input_cache_gib, show.tell
    )
    return LocalLauncher(), stack.enter_context(live)
