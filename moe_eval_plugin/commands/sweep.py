"""``moe-eval sweep``: the same questions at each k, with a results file for each."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, cast

from moe_eval_plugin.commands.interruption import interruptible
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.commands.sweep_options import add_options, add_study
from moe_eval_plugin.commands.sweep_progress import EXIT_INTERRUPTED, NOT_BEGUN
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from moe_eval_plugin.api.sweeping.request import SweepRequest
    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.sweeps.early_checks import EarlyPlan
    from moe_eval_plugin.sweeps.estimate import Estimate
    from moe_eval_plugin.sweeps.plan import SweepPlan
    from moe_eval_plugin.sweeps.planning import CheckedPlan

DESCRIPTION = """\
Ask a model the same questions at each k (experts per token), the published k first, and write a
standard results file of lmms-eval or lm-eval for each: accuracy, speed and the observed k. Then
time all k on the same questions, block by block, until the speed-ups are known to 3%.

With moe_hf, one process loads the weights and the data once, and changes k on the loaded model;
each k is verified before its first answer. Other models run each k in a process of its own.

An interrupted sweep continues with the same command: finished results are kept, and with lmms-eval
at most one batch is lost. If a setting changed since then, the sweep is refused.
"""
ONE_AT_ONCE = "Batch size 1, as --batch-size names none: more, for instance 16, is mostly faster."
EPILOG = """\
examples:
  moe-eval sweep --model-args pretrained=demo --tasks easy_vqa -o runs/sweep
  moe-eval sweep study.yaml --experts-k 8 4 --output runs/again
  moe-eval sweep --model-args pretrained=Qwen/Qwen3-VL-30B-A3B-Instruct \\
    --tasks okvqa vqa_v2_val --batch-size 16 --output runs/qwen3-vl
  moe-eval sweep --model moe_hf moe_vllm --experts-k 8 4 2 --tasks okvqa \\
    --model-args pretrained=Qwen/Qwen3-VL-30B-A3B-Instruct --output runs/both
  moe-eval sweep --host lm-eval --tasks arc_easy hellaswag --batch-size 16 \\
    --model-args pretrained=allenai/OLMoE-1B-7B-0924 --output runs/olmoe
  moe-eval sweep --checkpoints seeds/1 seeds/2 seeds/3 --tasks easy_vqa \\
    --output runs/seeds
  moe-eval sweep --model-args pretrained=demo --tasks easy_vqa \\
    --experts-k 8/image:2 8/image:4 4 --output runs/images --dry-run

exit code: 0; 1 if a setting failed; 2 if the request is wrong for all settings
"""


def add(verbs: Subcommands) -> None:
    """Add the command ``sweep``."""
    verb = add_verb(verbs, "sweep", run, "ask the same questions at each k", (DESCRIPTION, EPILOG))
    add_study(verb)
    add_options(verb)


def run(options: argparse.Namespace) -> int:
    """Sweep, and print the table as it grows; 1 if a point failed."""
    from moe_eval_plugin.api.sweeping.ready import check_model
    from moe_eval_plugin.api.sweeping.request import check_early
    from moe_eval_plugin.commands.study_file import save_study, with_study

    options = with_study(options)
    _check(options)
    requests = list(_requests(options))
    early = [check_early(request) for request in requests]
    if options.save_study is not None:
        return save_study(options)
    # Whether checkpoints are of one model is known from their configurations alone.
    is_early = options.dry_run and not options.checkpoints
    if is_early and _print_early(requests, early, as_json=options.json):
        return 0
    with Status.of(options) as status:
        # All are checked before the first one runs.
        status.doing("importing transformers, and checking the model")
        try:
            with interruptible():
                checked = [(request, check_model(request)) for request in requests]
        except KeyboardInterrupt:
            raise KeyboardInterrupt(NOT_BEGUN) from None
        _check_checkpoints(options, [plan for _, plan in checked])
        code = 0
        for request, plan in checked:
            code = max(code, _run_one(options, request, plan, status))
            if code == EXIT_INTERRUPTED:
                return code
    _show_next(options, code)
    return code


def _print_early(
    requests: Sequence[SweepRequest], early: Sequence[EarlyPlan], *, as_json: bool
) -> bool:
    """Print the estimates if nothing heavy is needed for any; whether that was so."""
    from moe_eval_plugin.sweeps.early_checks import count_early
    from moe_eval_plugin.sweeps.estimate import estimate
    from moe_eval_plugin.sweeps.planning import engine_options

    pairs = list(zip(requests, early, strict=True))
    counts = [count_early(one.plan, request.folder) for request, one in pairs]
    if None in counts:
        return False
    for (request, one), n_questions in zip(pairs, counts, strict=True):
        model = engine_options(one.plan)
        if one.baseline_added:
            print(_baseline_text(one.plan), file=sys.stderr if as_json else sys.stdout)
        found = estimate(one.plan, model, n_questions or {}, request.folder, {}, request.timing)
        _print_estimate(found, as_json=as_json)
    return True


def _print_estimate(found: Estimate, *, as_json: bool) -> None:
    from moe_eval_plugin.sweeps.estimate import render_estimate

    print(json.dumps(found.to_dict(), indent=2) if as_json else render_estimate(found))


def _check(options: argparse.Namespace) -> None:
    models, model_args = options.model, options.model_args
    if len(set(models)) < len(models) or len(model_args) not in {1, len(models)}:
        message = (
            f"--model {' '.join(models)} with {len(model_args)} --model-args is not possible. Name "
            "each model once, and pass one --model-args for all, or one for each in their order."
        )
        raise InvalidArgumentError(message)
    if options.json and (len(models) > 1 or options.checkpoints):
        message = "--json works with one model. Leave it out, or sweep the models one by one."
        raise InvalidArgumentError(message)
    if options.checkpoints and len(models) > 1:
        message = "--checkpoints works with one --model. Sweep with the other in another folder."
        raise InvalidArgumentError(message)


def _check_checkpoints(options: argparse.Namespace, checked: Sequence[CheckedPlan]) -> None:
    from moe_eval_plugin.api.sweeping.checkpoints import check_alike, read_checkpoints

    if options.checkpoints:
        models = [plan.model for plan in checked]
        check_alike(list(zip(read_checkpoints(options.checkpoints), models, strict=True)))


def _show_next(options: argparse.Namespace, code: int) -> None:
    """Print the command that pools the checkpoints, when all of them are done."""
    from moe_eval_plugin.commands.ending import is_silent, show_end, shown

    if options.checkpoints and code == 0 and not options.dry_run and not is_silent(options):
        command = f"moe-eval report {shown(options.output)} --checkpoints"
        show_end("All checkpoints are done.", following=command)


def _requests(options: argparse.Namespace) -> Iterator[SweepRequest]:
    """Yield the request of each model, or of each of its checkpoints."""
    from moe_eval_plugin.api.sweeping.options import SweepOptions, make_plan, make_request

    named = {name: getattr(options, name) for name in SweepOptions.__annotations__}
    given = cast("SweepOptions", named)
    for model, model_args, folder in _models(options):
        plan = make_plan(model, model_args, options.tasks, options.limit, given, folder)
        request = make_request(folder, plan, options.experts_k, given, options.command)
        yield replace(request, dry_run=options.dry_run)


def _models(options: argparse.Namespace) -> Iterator[tuple[str, str, Path]]:
    """Yield each model with its arguments and its folder."""
    from moe_eval_plugin.api.sweeping.checkpoints import read_checkpoints
    from moe_eval_plugin.api.sweeping.options import choose_host

    (model, *_), output = options.model, options.output
    for one in read_checkpoints(options.checkpoints) if options.checkpoints else ():
        folder = output / one.folder
        host = choose_host(options.host, folder)
        yield model, one.model_args(options.model_args[0], host), folder
    if not options.checkpoints:
        for model, model_args in zip(options.model, cycle(options.model_args), strict=False):
            yield model, model_args, output / model if len(options.model) > 1 else output


def _run_one(
    options: argparse.Namespace, request: SweepRequest, checked: CheckedPlan, status: Status
) -> int:
    """Sweep over one model, or print the estimate."""
    from moe_eval_plugin.api.sweeping.ready import read_tasks
    from moe_eval_plugin.commands.log_follower import following
    from moe_eval_plugin.commands.sweep_progress import SweepProgress
    from moe_eval_plugin.sweeps.workers.in_process import LOGS

    progress = SweepProgress(as_json=options.json, status=status)
    if checked.baseline_added:
        progress.note(_baseline_text(checked.plan))
    if options.batch_size is None and checked.plan.batch_size == "1":
        progress.note(ONE_AT_ONCE)
    try:
        status.doing(f"importing {checked.plan.host}, and reading the tasks and their data")
        with interruptible():
            ready = read_tasks(request, checked)
        if not options.dry_run:
            with following(request.folder / LOGS, status.write, active=options.verbose):
                result = ready.run(progress)
            return progress.finish(result)
        found = ready.estimate()
        for text in ready.notes:
            progress.note(text)
        status.pause()
        _print_estimate(found, as_json=options.json)
    except KeyboardInterrupt:
        return progress.interrupted()
    return 0


def _baseline_text(plan: SweepPlan) -> str:
    return f"Added k={plan.points[0].experts_k}, the published k, as the baseline."
