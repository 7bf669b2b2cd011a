"""``moe-eval sweep``: the same questions at each k, with a results file for each."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb, with_dashes
from moe_eval_plugin.commands.sweep_options import add_options, add_study
from moe_eval_plugin.commands.sweep_timing import TimedPassCommand, timing_options
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_float, read_int, read_new_folder, read_pairs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.hosts.lmms_eval.in_process import Host
    from moe_eval_plugin.sweep.data_content import DataContent
    from moe_eval_plugin.sweep.early_checks import EarlyPlan
    from moe_eval_plugin.sweep.launchers.choose import LaunchOptions
    from moe_eval_plugin.sweep.plan import SweepPlan
    from moe_eval_plugin.sweep.planning import Axes, CheckedPlan

DESCRIPTION = """\
Ask a model the same questions at each k (experts per token), the published k first, and write a
standard lmms-eval results file for each: accuracy, speed and the observed k. Then time all k on
the same questions, block by block, until the speed-ups are known to 3%.

With moe_hf, one process loads the weights and the data once, encodes the inputs once, and changes
k on the loaded model; each k is verified before its first answer. Other models run each k in its
own lmms-eval process.

An interrupted sweep continues with the same command: finished results are kept, and at most one
batch is lost. If a setting changed since then, the sweep is refused.
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

exit code: 0; 1 if a setting failed; 2 if the request is wrong for all settings
"""


def add(verbs: Subcommands) -> None:
    """Add the command ``sweep``."""
    verb = add_verb(verbs, "sweep", run, "ask the same questions at each k", (DESCRIPTION, EPILOG))
    add_study(verb)
    add_options(verb)


def run(options: argparse.Namespace) -> int:
    """Sweep, and print the table as it grows; 1 if a point failed."""
    from moe_eval_plugin.commands.study_file import save_study, with_study
    from moe_eval_plugin.sweep.early_checks import Intent, check_early
    from moe_eval_plugin.sweep.planning import Axes

    options = with_study(options)
    _check(options)
    launch = _launch_options(options)
    axes = Axes(options.experts_k, options.experts_policy, options.renorm, options.seeds)
    drafts = list(_drafts(options))
    intent = Intent(options.launcher, options.dry_run, options.restart)
    early = [(folder, check_early(draft, axes, folder, intent)) for folder, draft in drafts]
    if options.save_study is not None:
        return save_study(options)
    if options.dry_run and _print_early(options, early):
        return 0
    with Status() as status:
        # All are checked before the first one runs.
        status.doing("importing transformers, and checking the model")
        checked = [(folder, _checked(options, draft, axes)) for folder, draft in drafts]
        return max(_run_one(options, launch, folder, one, status) for folder, one in checked)


def _print_early(options: argparse.Namespace, early: Sequence[tuple[Path, EarlyPlan]]) -> bool:
    """Print the estimates if nothing heavy is needed for any; whether that was so."""
    from moe_eval_plugin.sweep.early_checks import count_early
    from moe_eval_plugin.sweep.estimate import estimate, render_estimate
    from moe_eval_plugin.sweep.planning import engine_options

    counts = [count_early(one.plan, folder) for folder, one in early]
    if None in counts:
        return False
    for (folder, one), n_questions in zip(early, counts, strict=True):
        model, timing = engine_options(one.plan.model_args), timing_options(options)
        found = estimate(one.plan, model, n_questions or {}, folder, {}, timing)
        if one.baseline_added:
            notes = sys.stderr if options.json else sys.stdout
            print(_baseline_text(one.plan), file=notes)
        print(json.dumps(found.to_dict(), indent=2) if options.json else render_estimate(found))
    return True


def _checked(options: argparse.Namespace, draft: SweepPlan, axes: Axes) -> CheckedPlan:
    """Add the points to a plan, and check it with the configuration and the files of its model."""
    from moe_eval_plugin.sweep.planning import check_machine, check_weights, make_plan

    runs_here = options.launcher == "local"
    checked = make_plan(draft, axes)
    if runs_here:
        check_machine(checked.plan)
    if not options.dry_run:
        check_weights(checked, runs_here=runs_here)
    return checked


def _check(options: argparse.Namespace) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        message = (
            "A sweep is one process, but it was started as one of several. Start it once; "
            "--processes-per-point N shares the questions of each setting among N processes."
        )
        raise InvalidArgumentError(message)
    _check_values(options)
    models, model_args = options.model, options.model_args
    if len(set(models)) < len(models) or len(model_args) not in {1, len(models)}:
        message = (
            f"--model {' '.join(models)} with {len(model_args)} --model-args is not possible. Name "
            "each model once, and pass one --model-args for all, or one for each in their order."
        )
        raise InvalidArgumentError(message)
    if options.json and len(models) > 1:
        message = "--json works with one model. Leave it out, or sweep the models one by one."
        raise InvalidArgumentError(message)


def _check_values(options: argparse.Namespace) -> None:
    """Raise ``InvalidArgumentError`` for values that no model and no machine can take."""
    read_new_folder("--output", options.output)
    if options.include_path is not None and not Path(options.include_path).is_dir():
        message = f"--include-path {options.include_path} is not a folder. Name one with tasks."
        raise InvalidArgumentError(message)
    if not any(name.strip() for given in options.tasks for name in given.split(",")):
        message = "--tasks names no task. All tasks: `lmms-eval tasks list`."
        raise InvalidArgumentError(message)
    read_int("--processes-per-point", options.processes_per_point, at_least=1)
    read_float("--gpus-per-point", options.gpus_per_point, at_least=0)
    if options.input_cache_gib is not None:
        read_float("--input-cache-gib", options.input_cache_gib, at_least=0)
    timing_options(options)
    for seed in options.seeds:
        read_int("--seeds", seed, at_least=0)


def _launch_options(options: argparse.Namespace) -> LaunchOptions:
    from moe_eval_plugin.sweep.launchers.choose import LaunchOptions

    return LaunchOptions(
        launcher=options.launcher,
        gpus_per_point=options.gpus_per_point,
        launcher_options=read_pairs("--launcher-options", options.launcher_options, "NAME=VALUE"),
        separate=options.separate,
        processes_per_point=options.processes_per_point,
        input_cache_gib=options.input_cache_gib,
    )


def _drafts(options: argparse.Namespace) -> Iterator[tuple[Path, SweepPlan]]:
    """Yield the folder of each model and its plan without points."""
    from moe_eval_plugin.sweep.plan import SweepPlan
    from moe_eval_plugin.sweep.workers.batch_size import default_batch_size

    tasks = [name for given in options.tasks for name in given.split(",") if name]
    for number, model in enumerate(options.model):
        folder = options.output / model if len(options.model) > 1 else options.output
        yield (
            folder.resolve(),
            SweepPlan(
                model=model,
                model_args=options.model_args[number % len(options.model_args)],
                tasks=tuple(dict.fromkeys(tasks)),
                points=(),
                limit=options.limit,
                batch_size=options.batch_size or default_batch_size(model),
                device=options.device,
                gen_kwargs=options.gen_kwargs,
                include_path=options.include_path,
            ),
        )


def _run_one(
    options: argparse.Namespace,
    launch: LaunchOptions,
    folder: Path,
    checked: CheckedPlan,
    status: Status,
) -> int:
    """Sweep over one model, or print the estimate."""
    from moe_eval_plugin.hosts.lmms_eval.in_process import Host
    from moe_eval_plugin.sweep.data_content import DataContent
    from moe_eval_plugin.sweep.estimate import estimate, render_estimate
    from moe_eval_plugin.sweep.fingerprint import sweep_settings

    plan = checked.plan
    if checked.baseline_added:
        status.write(_baseline_text(plan), sys.stderr if options.json else sys.stdout)
    status.doing("importing lmms-eval, and reading the tasks and their data")
    host = Host(plan.model, plan.tasks, plan.include_path)
    data = DataContent.load(folder)
    settings = sweep_settings(plan, checked.model, host, data)
    if not options.dry_run:
        run = _Run(folder, checked, host, settings, data)
        return _sweep(options, launch, run, status)
    n_questions = host.n_questions(plan.limit)
    found = estimate(plan, checked.options, n_questions, folder, settings, timing_options(options))
    status.pause()
    print(json.dumps(found.to_dict(), indent=2) if options.json else render_estimate(found))
    return 0


def _baseline_text(plan: SweepPlan) -> str:
    return f"Added k={plan.points[0].experts_k}, the published k, as the baseline."


@dataclass(frozen=True)
class _Run:
    """A checked plan with the tasks that it asks, and the folder that it fills."""

    folder: Path
    """The folder of the sweep."""
    checked: CheckedPlan
    """The plan, and the model's configuration."""
    host: Host
    """lmms-eval with the tasks."""
    settings: Mapping[str, Any]
    """What the numbers depend on, by name."""
    data: DataContent
    """What is known of the files of the data."""


def _sweep(options: argparse.Namespace, launch: LaunchOptions, run: _Run, status: Status) -> int:
    from moe_eval_plugin.commands.sweep_progress import SweepProgress
    from moe_eval_plugin.sweep.launchers.choose import launching
    from moe_eval_plugin.sweep.manifest import locked
    from moe_eval_plugin.sweep.runner import open_manifest

    plan, folder, host = run.checked.plan, run.folder, run.host
    with locked(folder):
        manifest = open_manifest(
            folder,
            plan,
            run.settings,
            restart=options.restart,
            command=getattr(options, "command", ("moe-eval", *with_dashes(sys.argv[1:]))),
            changed_files=run.data.changed(),
        )
        run.data.save(folder)
        n_questions = sum(host.n_questions(plan.limit).values())
        progress = SweepProgress(plan, manifest, n_questions, as_json=options.json, status=status)
        timing = TimedPassCommand(timing_options(options), plan, manifest, host, progress)
        try:
            with (
                closing(progress),
                launching(launch, run.checked, host, folder, manifest.settings, progress) as means,
            ):
                progress.run(*means, run.data.changed_since)
                is_timed = timing.run(*means)
        except KeyboardInterrupt:
            return progress.interrupted(timing=timing.has_begun)
    return progress.finish(timing_failed=not is_timed)
