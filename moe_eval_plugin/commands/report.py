"""``moe-eval report``: one page that shows what a smaller k costs and what it gains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
Make one HTML file of finished runs: accuracy and speed at each k with intervals and tests, what the
routers did, every number in a table that sorts, the questions that changed from right to wrong with
their images, and where everything comes from. The file needs no network.

RUN is a folder of a sweep, any other folder with results files of lmms-eval, or such a file. Runs
of models that are not ours, and so have no k, stand beside the others. Differences and changed
questions need runs with --log_samples.

Beside the page lies a folder with each chart as PNG and SVG, and the table as CSV and Markdown.
"""
EPILOG = """\
examples:
  moe-eval report runs/demo --open
  moe-eval report runs/qwen3-vl runs/llava --task okvqa --output okvqa.html
  moe-eval report runs/demo --bench bench.json          with the gain against the batch size

The images of okvqa and vqa_v2_val are read from the folder that MOE_EVAL_DATA names.
"""
NAME = "report.html"


def add(verbs: Subcommands) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs, "report", run, "make an HTML report of finished runs", (DESCRIPTION, EPILOG)
    )
    verb.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a folder or results file")
    verb.add_argument(
        "--output", type=Path, metavar="FILE", help=f"the page (default: {NAME} beside the runs)"
    )
    verb.add_argument("--open", action="store_true", help="show the page in the browser")
    verb.add_argument("--title", help="heading of the page (default: models and tasks)")
    verb.add_argument("--task", help="show this task only (default: all)")
    verb.add_argument("--metric", help="the score to show (default: the one of the task)")
    verb.add_argument(
        "--within",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="margin in which a score counts as that of the baseline (default: 1 point of 100)",
    )
    verb.add_argument(
        "--bench",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="files of `moe-eval bench --output`",
    )
    verb.add_argument(
        "--max-questions",
        type=int,
        default=200,
        metavar="N",
        help="show at most N changed questions of each setting (default: 200)",
    )
    verb.add_argument(
        "--force", action="store_true", help="overwrite a file that is no report of this command"
    )


def run(options: argparse.Namespace) -> int:
    """Make the report, say where it lies, and open it if that was asked for."""
    from moe_eval_plugin.report.build import Options, build
    from moe_eval_plugin.report.write import check_output, write_report

    _check(options)
    path = options.output or _beside(options.runs)
    check_output(path, force=options.force)
    report = build(
        options.runs,
        Options(
            title=options.title,
            task=options.task,
            metric=options.metric,
            margin_points=options.within,
            max_questions=options.max_questions,
            benches=options.bench,
        ),
    )
    page, *others = write_report(report, path)
    n_points = sum(len(one.points) for one in report.series)
    print(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB, {n_points} settings)")
    print(f"  beside it, in {others[0].parent}: {len(others)} files of charts and tables")
    if options.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


def _check(options: argparse.Namespace) -> None:
    if not 0 < options.within < math.inf:
        message = f"--within {options.within} is not possible. Give a number of points above 0."
        raise InvalidArgumentError(message)
    if options.max_questions < 0:
        message = f"--max-questions {options.max_questions} is not possible. Give 0 or more."
        raise InvalidArgumentError(message)


def _beside(runs: list[Path]) -> Path:
    """Choose the folder of the runs, or the one that holds them all."""
    import os

    folders = [path if path.is_dir() else path.parent for path in runs]
    return Path(os.path.commonpath([folder.resolve() for folder in folders]), NAME)
