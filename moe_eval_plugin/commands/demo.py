"""``moe-eval demo``: a small model at several k, its speeds, and the report, in 90 seconds."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.option_values import read_float, read_int, read_new_folder
from moe_eval_plugin.text import wrap

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.api.sweeping.ready import SweepResult
    from moe_eval_plugin.api.sweeping.request import SweepRequest
    from moe_eval_plugin.commands.demo_progress import DemoProgress
    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
See in under 90 seconds what this tool does: a small Mixture-of-Experts model, which comes with the
package, answers questions about drawn shapes at 8, 4, 2 and 1 experts per token. Each k is
verified before its first answer. Then all k are timed in turn on the same questions, and the
report is written: which k to use, and why. It needs no GPU and no network.

An interrupted demo continues with the same command.
"""
EPILOG = """\
examples:
  moe-eval demo
  moe-eval demo --limit 9673 --output runs/all   all questions, in some minutes

It is a sweep and a report. To change anything else, edit the study file that it
writes into its folder, and run `moe-eval sweep runs/first/study.yaml -o FOLDER`.

exit code: 0; 1 if a setting failed
"""
FOLDER = Path("runs/first")
# Fewer do not show that k=4 loses less than a point.
N_QUESTIONS = 2000
K = ("8", "4", "2", "1")
TASK, MODEL_ARGS = "easy_vqa", "pretrained=demo"
# Answers do not depend on the batch size, and large batches are answered in less time.
BATCH_SIZE, TIMED_BATCH_SIZE = 64, 16
PRECISION, BUDGET_S = 0.05, 20.0
# The options of the sweep that this is; those that the demo has itself follow.
SWEEP = (
    *("moe-eval", "sweep", "--model-args", MODEL_ARGS, "--experts-k", *K, "--tasks", TASK),
    *("--batch-size", str(BATCH_SIZE), "--batch-sizes", str(TIMED_BATCH_SIZE)),
    *("--speed-precision", str(PRECISION)),
)
NEXT = "moe-eval sweep -a pretrained=MODEL -t okvqa -o runs/own"
NO_PAGE = 'none. For charts and the page: pip install "moe-eval-plugin[report]"'


def add(verbs: Subcommands) -> None:
    """Add the command ``demo``."""
    verb = add_verb(
        verbs, "demo", run, "see it work: a small model, in under 90 seconds", (DESCRIPTION, EPILOG)
    )
    group = verb.add_argument_group("demo")
    group.add_argument(
        *("-l", "--limit"),
        type=int,
        default=N_QUESTIONS,
        metavar="N",
        help=f"questions to ask at each k (default: {N_QUESTIONS:,})",
    )
    group.add_argument(
        *("-o", "--output"),
        type=Path,
        default=FOLDER,
        metavar="FOLDER",
        help=f"folder for results and report (default: {FOLDER})",
    )
    group.add_argument(
        "--speed-budget",
        type=float,
        default=BUDGET_S,
        metavar="SECONDS",
        help=f"time for timing; more gives narrower intervals (default: {BUDGET_S:g})",
    )
    group.add_argument("--no-open", action="store_true", help="do not open the page in a browser")
    group.add_argument("--json", action="store_true", help="print JSON at the end, not text")


def run(options: argparse.Namespace) -> int:
    """Answer, time and report; print the answer last. Return 1 if a setting failed."""
    from moe_eval_plugin.hosts.harness import LMMS_EVAL, check_installed

    check_installed(LMMS_EVAL)
    read_int("--limit", options.limit, at_least=1)
    read_new_folder("--output", options.output)
    read_float("--speed-budget", options.speed_budget, above=0)
    # It is too small to gain from more threads, which wait for each other on a busy machine.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with Status.of(options) as status:
        # Importing libraries takes seconds: this comes before.
        for line in wrap(_introduction(options.limit)):
            status.write(line, sys.stderr if options.json else sys.stdout)
        status.doing("checking what is there")
        return _run(options, status)


def _introduction(n_questions: int) -> str:
    ks = f"{', '.join(K[:-1])} and {K[-1]}"
    return (
        f"moe-eval demo: a model of 2 million parameters answers {n_questions:,} questions about "
        f"drawn shapes, with {ks} of its 32 experts per token. About 85 seconds, without a GPU."
    )


def _run(options: argparse.Namespace, status: Status) -> int:
    from moe_eval_plugin.api.sweeping.ready import check_model, read_tasks
    from moe_eval_plugin.api.sweeping.request import check_early
    from moe_eval_plugin.commands.demo_progress import DemoProgress

    request = demo_request(options.output.resolve(), options.limit, options.speed_budget)
    check_early(request)
    progress = DemoProgress(as_json=options.json, status=status)
    try:
        status.doing("importing PyTorch and transformers")
        checked = check_model(request)
        status.doing("importing lmms-eval, and reading the questions")
        result = read_tasks(request, checked).run(progress)
        if result.failed or not result.is_timed:
            return progress.finish(result)
        return _report(options, result, progress)
    except KeyboardInterrupt:
        return progress.interrupted()


def demo_request(folder: Path, n_questions: int, budget_s: float = BUDGET_S) -> SweepRequest:
    """Return the sweep that the demo is.

    Results of an earlier demo with other settings are moved aside, as ``--restart`` does; those of
    any other sweep are not.
    """
    from moe_eval_plugin.api.sweeping.request import SweepRequest
    from moe_eval_plugin.sweeps.manifest import load_manifest
    from moe_eval_plugin.sweeps.plan import SweepPlan
    from moe_eval_plugin.sweeps.settings.points import Axes
    from moe_eval_plugin.sweeps.timing.options import TimingOptions

    found = load_manifest(folder)
    return SweepRequest(
        folder=folder,
        common=SweepPlan(
            model="moe_hf",
            model_args=MODEL_ARGS,
            tasks=(TASK,),
            points=(),
            limit=n_questions,
            batch_size=str(BATCH_SIZE),
        ),
        axes=Axes(K),
        timing=TimingOptions(PRECISION, budget_s, (TIMED_BATCH_SIZE,)),
        restart=found is not None and found.command[: len(SWEEP)] == SWEEP,
        command=(
            *(*SWEEP, "--speed-budget", f"{budget_s:g}"),
            *("--limit", str(n_questions), "--output", str(folder)),
        ),
    )


def _report(options: argparse.Namespace, result: SweepResult, progress: DemoProgress) -> int:
    """Write the page, print what was found, and open the page where there is a browser."""
    from moe_eval_plugin.commands.browser import open_page
    from moe_eval_plugin.commands.ending import answer_lines, answers, is_silent, show_end, shown

    if not is_silent(options):
        progress.show_speeds(result)
    page = _write_page(result.folder, progress.status)
    progress.close()
    if options.json:
        path = None if page is None else str(page)
        print(json.dumps({**progress.content(result), "page": path}, indent=2))
        return 0
    found = answer_lines(answers(result.folder))
    if options.quiet:
        show_end(*found)
        return 0
    is_open = page is not None and not options.no_open and open_page(page)
    where = NO_PAGE if page is None else shown(page) + (" (open in your browser)" * is_open)
    show_end(*found, where=f"Report: {where}", following=NEXT)
    return 0


def _write_page(folder: Path, status: Status) -> Path | None:
    """Write the report of a folder; ``None`` without the packages that it needs."""
    from moe_eval_plugin.errors import MissingDependencyError
    from moe_eval_plugin.report.build import Options, build
    from moe_eval_plugin.report.write import write_report

    try:
        report = build([folder], Options(), status.doing)
    except MissingDependencyError:
        return None
    status.doing("writing the page")
    return write_report(report, folder / "report.html")[0]
