"""``moe-eval compare``: two finished runs over the same questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.results.compare.comparison import Comparison

DESCRIPTION = """\
Compare two finished runs over the same questions: how many answers are equal, how far the score of
B is from that of A with a paired interval and a p-value, what changed, and how the runs differ.

A and B are results files of lmms-eval, or folders with one each, made with --log_samples. The model
may be any that lmms-eval knows.
"""
EPILOG = """\
examples:
  moe-eval compare runs/k8 runs/k4                             what does a smaller k change?
  moe-eval compare runs/hf runs/vllm --at-least-equal 0.99     do two backends agree?
  moe-eval compare runs/k8 runs/k4 --list changed.csv          which questions changed?
  moe-eval compare runs/k8 runs/k4 --metric vqa_accuracy vqa_accuracy_official --json

exit code: 0, or 1 if answers agree less often than --at-least-equal asks
"""
LISTS = (".csv", ".json")


def add(verbs: Subcommands) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs, "compare", run, "compare two runs over the same questions", (DESCRIPTION, EPILOG)
    )
    verb.add_argument("a", type=Path, metavar="A", help="the run to compare with: file or folder")
    verb.add_argument("b", type=Path, metavar="B", help="the run to be compared: file or folder")
    verb.add_argument("--task", help="compare this task only (default: all that both have)")
    verb.add_argument(
        "--metric",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the scores to compare (default: the one that stands for the task)",
    )
    verb.add_argument(
        "--common",
        action="store_true",
        help="compare the questions that both runs have, if they differ",
    )
    verb.add_argument(
        "--within",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="margin of the equivalence test, in hundredths of the score (default: 1)",
    )
    verb.add_argument(
        "--at-least-equal",
        type=float,
        metavar="SHARE",
        help="fail unless this share of the answers of each task is equal: 0.99 for instance",
    )
    verb.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="write each question that changed to this file (.csv or .json)",
    )
    verb.add_argument("--force", action="store_true", help="overwrite the file of --list")
    verb.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the resampling (default: 0)"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Compare, print, and write the list; 1 if answers agree less often than was asked."""
    from moe_eval_plugin.results.compare.compare import Options, compare_runs
    from moe_eval_plugin.results.compare.text import render
    from moe_eval_plugin.results.lmms_eval_files import find_run
    from moe_eval_plugin.stats.resampling import Bootstrap

    _check(options)
    comparison = compare_runs(
        find_run(options.a),
        find_run(options.b),
        options.task,
        Options(
            metrics=options.metric,
            common=options.common,
            margin=options.within / HUNDRED,
            bootstrap=Bootstrap(seed=options.seed),
        ),
    )
    lacking = _lacking(comparison, options.at_least_equal)
    if options.list is not None:
        _write_list(comparison, options.list, force=options.force)
    if options.json:
        print(json.dumps(comparison.to_dict(), ensure_ascii=False, indent=2))
    else:
        print(render(comparison))
        print(*lacking, sep="\n", end="\n" if lacking else "")
    return 1 if lacking else 0


def _check(options: argparse.Namespace) -> None:
    share = options.at_least_equal
    if share is not None and not 0 <= share <= 1:
        message = f"--at-least-equal {share} is not possible. Give a share from 0 to 1: 0.99."
        raise InvalidArgumentError(message)
    if not 0 < options.within < float("inf"):
        message = f"--within {options.within} is not possible. Give a number of points above 0."
        raise InvalidArgumentError(message)
    if options.seed < 0:
        message = f"--seed {options.seed} is not possible. Give 0 or more."
        raise InvalidArgumentError(message)
    if options.list is not None and options.list.suffix not in LISTS:
        message = f"--list {options.list} is not possible. Name a file in {' or '.join(LISTS)}."
        raise InvalidArgumentError(message)


def _lacking(comparison: Comparison, share: float | None) -> list[str]:
    """Say for each task that its answers agree too seldom."""
    if share is None:
        return []
    for task in comparison.tasks:
        if task.equal_answers is None:
            message = (
                f"--at-least-equal cannot be checked for {task.task}: its answers are no text. "
                "Leave the option out, or name another --task."
            )
            raise InvalidArgumentError(message)
    return [
        f"Failed: {task.equal_answers:.4%} of the answers to {task.task} are equal, less than "
        f"{share:.4%}."
        for task in comparison.tasks
        if task.equal_answers is not None and task.equal_answers < share
    ]


def _write_list(comparison: Comparison, path: Path, *, force: bool) -> None:
    from moe_eval_plugin.files import write_files
    from moe_eval_plugin.results.compare.text import changes_csv, changes_json

    write = changes_json if path.suffix == ".json" else changes_csv
    write_files({path.name: write(comparison.changes)}, path.parent, force=force)
