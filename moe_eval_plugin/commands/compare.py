"""``moe-eval compare``: compare two finished runs over the same questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.ending import answer_lines, answers, is_silent, show_end, shown
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_new_file
from moe_eval_plugin.text import HUNDRED, setting_label

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from moe_eval_plugin.commands.subcommand import Options as OptionGroup
    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.results.compare.compare import Options
    from moe_eval_plugin.results.compare.comparison import Comparison, TaskComparison

DESCRIPTION = """\
Compare two finished runs over the same questions: the share of equal answers, the difference in
accuracy of B to A with a paired interval and a p-value, the speed, the questions that changed, and
the settings that differ. With a sweep in place of A and B, compare each of its settings with the
published k.

A and B are results files of lmms-eval or lm-eval, or folders with one each, made with
--log_samples. Results of any model work, and A and B may come from different hosts. The speed-up of
two settings of one sweep has an interval if the sweep has a timed pass. The speed-up of any other
two runs was timed once.
"""
EPILOG = """\
examples:
  moe-eval compare runs/sweep                            each setting of a sweep
  moe-eval compare runs/k8 runs/k4                      what a smaller k changes
  moe-eval compare runs/hf runs/vllm --at-least-equal 0.99
                                                        do two backends agree?
  moe-eval compare runs/k8 runs/k4 --list changed.csv   the changed questions
  moe-eval compare runs/k8 runs/k4 --json \\
    --metric vqa_accuracy vqa_accuracy_official

exit code: 0, or 1 if fewer answers are equal than --at-least-equal requires, at any setting
"""
LISTS = (".csv", ".json")


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs, "compare", run, "compare two runs over the same questions", (DESCRIPTION, EPILOG)
    )
    verb.add_argument(
        "a", type=Path, metavar="A", help="run to compare with: file or folder; or a sweep"
    )
    verb.add_argument(
        "b",
        type=Path,
        nargs="?",
        metavar="B",
        help="run to compare: file or folder (none for a sweep)",
    )
    _add_choices(verb.add_argument_group("what to compare"))
    _add_output(verb.add_argument_group("output"))


def _add_choices(verb: OptionGroup) -> None:
    """Add the options that choose what is compared, and how."""
    verb.add_argument(
        "--settings",
        nargs="+",
        default=[],
        metavar="K",
        help="settings of a sweep to compare with the published k, e.g. k4 k2 (default: all)",
    )
    verb.add_argument("--task", help="compare only this task (default: all that both have)")
    verb.add_argument(
        "--metric",
        nargs="+",
        default=[],
        metavar="NAME",
        help="metrics to compare (default: the main one of the task)",
    )
    verb.add_argument(
        "--common",
        action="store_true",
        help="compare only the questions that both runs have",
    )
    verb.add_argument(
        "--within",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="margin of the equivalence test, in points (default: 1)",
    )
    verb.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the resampling (default: 0)"
    )


def _add_output(verb: OptionGroup) -> None:
    """Add the options of what is written and when the command fails."""
    verb.add_argument(
        "--at-least-equal",
        type=float,
        metavar="SHARE",
        help="fail unless this share of the answers of each task is equal, e.g. 0.99",
    )
    verb.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="write the questions that changed to this file (.csv or .json)",
    )
    verb.add_argument("--force", action="store_true", help="overwrite an existing file of --list")
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Compare, print, and write the list; return 1 if too few answers are equal."""
    from moe_eval_plugin.api.comparison import refuse_sweep
    from moe_eval_plugin.results.compare.compare import compare_runs
    from moe_eval_plugin.results.compare.text import render
    from moe_eval_plugin.results.files import find_run

    _check(options)
    if options.b is None:
        return _run_sweep(options)
    if options.settings:
        message = "--settings chooses among those of a sweep. Remove it, or pass one sweep only."
        raise InvalidArgumentError(message)
    for path in (options.a, options.b):
        refuse_sweep(path)
    comparison = compare_runs(find_run(options.a), find_run(options.b), options.task, _how(options))
    lacking = _lacking(comparison.tasks, options.at_least_equal)
    if options.list is not None:
        _write_list(comparison, options.list, force=options.force)
    code = _show(comparison.to_dict() if options.json else render(comparison), lacking)
    if not is_silent(options):
        _show_end(comparison, options)
    return code


def _show_end(comparison: Comparison, options: argparse.Namespace) -> None:
    """Print the difference of each task in a line, and how to see the questions that changed."""
    from moe_eval_plugin.results.compare.text import result_lines

    changed = f"moe-eval compare {shown(options.a)} {shown(options.b)} --list changed.csv"
    print()
    show_end(
        *result_lines(comparison),
        *([f"Changed questions: {shown(options.list)}"] if options.list is not None else []),
        following=changed if comparison.changes and options.list is None else "",
    )


def _run_sweep(options: argparse.Namespace) -> int:
    """Compare the settings of a sweep with its baseline."""
    from moe_eval_plugin.api.comparison import compare_settings
    from moe_eval_plugin.results.compare.sweep_text import render_sweep

    if options.list is not None:
        message = "--list needs two runs. Pass two settings of the sweep as A and B."
        raise InvalidArgumentError(message)
    how, task = _how(options), options.task
    comparison = compare_settings(options.a, how, task=task, settings=options.settings)
    lacking = [
        line
        for name, one in comparison.settings.items()
        for line in _lacking(one.tasks, options.at_least_equal, name)
    ]
    code = _show(comparison.to_dict() if options.json else render_sweep(comparison), lacking)
    if not is_silent(options):
        chosen = options.task or options.metric or options.settings
        found = [] if chosen else answers(options.a, options.within)
        print()
        show_end(*answer_lines(found), following=f"moe-eval report {shown(options.a)} --open")
    return code


def _show(comparison: dict[str, Any] | str, lacking: list[str]) -> int:
    """Print a comparison, a text with what is lacking after it; return 1 if anything is."""
    if isinstance(comparison, dict):
        print(json.dumps(comparison, ensure_ascii=False, indent=2))
    else:
        print(comparison)
        print(*lacking, sep="\n", end="\n" if lacking else "")
    return 1 if lacking else 0


def _how(options: argparse.Namespace) -> Options:
    from moe_eval_plugin.results.compare.compare import Options
    from moe_eval_plugin.stats.resampling import Bootstrap

    return Options(
        metrics=options.metric,
        common=options.common,
        margin=options.within / HUNDRED,
        bootstrap=Bootstrap(seed=options.seed),
    )


def _check(options: argparse.Namespace) -> None:
    share = options.at_least_equal
    if share is not None and not 0 <= share <= 1:
        message = f"--at-least-equal {share} is not possible. Use a share from 0 to 1, e.g. 0.99."
        raise InvalidArgumentError(message)
    if not 0 < options.within < float("inf"):
        message = f"--within {options.within} is not possible. Use a number of points above 0."
        raise InvalidArgumentError(message)
    if options.seed < 0:
        message = f"--seed {options.seed} is not possible. Use 0 or more."
        raise InvalidArgumentError(message)
    if options.list is not None:
        read_new_file("--list", options.list)
    if options.list is not None and options.list.suffix not in LISTS:
        message = f"--list {options.list} is not possible. Use a name in {' or '.join(LISTS)}."
        raise InvalidArgumentError(message)


def _lacking(tasks: Sequence[TaskComparison], share: float | None, setting: str = "") -> list[str]:
    """Return a line for each task with too few equal answers, which names the setting."""
    if share is None:
        return []
    for task in tasks:
        if task.equal_answers is None:
            message = (
                f"--at-least-equal cannot be checked for {task.task}: its answers are not text. "
                "Remove the option, or choose another --task."
            )
            raise InvalidArgumentError(message)
    where = f" at {setting_label(setting)}" if setting else ""
    return [
        f"Failed: {task.equal_answers:.4%} of the answers to {task.task}{where} are equal, less "
        f"than {share:.4%}."
        for task in tasks
        if task.equal_answers is not None and task.equal_answers < share
    ]


def _write_list(comparison: Comparison, path: Path, *, force: bool) -> None:
    from moe_eval_plugin.files import write_files
    from moe_eval_plugin.results.compare.text import changes_csv, changes_json

    write = changes_json if path.suffix == ".json" else changes_csv
    write_files({path.name: write(comparison.changes)}, path.parent, force=force)
