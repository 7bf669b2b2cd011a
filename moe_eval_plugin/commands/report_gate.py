"""The options of ``moe-eval report`` for papers and for continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from moe_eval_plugin.commands.ending import is_silent, shown
from moe_eval_plugin.option_values import read_new_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from moe_eval_plugin.commands.subcommand import Options as OptionGroup
    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.answer.condition import Comparison

EPILOG = """\
conditions of --fail-if and --fail-unless:
  loss(k=4) > 1                  points of accuracy lost against the published k
  speed_up(k=4) < 1.2            speed divided by that of the published k
  accuracy(k=4) < 98             percent; join conditions with `and`
  loss(k=4, task=okvqa) > 1      names one of several tasks; also model=NAME

A condition is shown if the interval of its number lies on that side: 90% for a loss (a one-sided
test at 5%, as for all verdicts), 95% for the others. --fail-if fails where the condition is shown,
so too few questions never fail it. --fail-unless fails where it is not shown, so too few questions
do: use it to release something. Both then end with exit code 1.
"""


class Gate(NamedTuple):
    """A condition, and whether it must be shown or must not be."""

    option: str
    text: str
    condition: list[Comparison]
    must_be_shown: bool


def add_options(verb: OptionGroup) -> None:
    """Add the options."""
    verb.add_argument(
        "--paper",
        type=Path,
        metavar="DIR",
        help="also write a LaTeX table, figures in column width, a caption and citations",
    )
    verb.add_argument(
        "--fail-if",
        metavar="CONDITION",
        help='end with exit code 1 if this is shown, e.g. "loss(k=4) > 1"',
    )
    verb.add_argument(
        "--fail-unless",
        metavar="CONDITION",
        help='end with exit code 1 unless this is shown, e.g. "loss(k=4) < 1"',
    )


def read_gates(options: argparse.Namespace) -> list[Gate]:
    """Return the conditions of the options; raises ``InvalidArgumentError``."""
    given = (
        ("--fail-if", options.fail_if, False),
        ("--fail-unless", options.fail_unless, True),
    )
    if not any(text for _, text, _ in given):
        return []
    from moe_eval_plugin.report.answer.condition import parse_condition

    return [Gate(name, text, parse_condition(text), must) for name, text, must in given if text]


def judge_gates(
    gates: Sequence[Gate], series: Sequence[SeriesStatistics]
) -> list[tuple[bool, str]]:
    """Return for each condition whether it fails, and a line that says so with the numbers."""
    if not gates:
        return []
    from moe_eval_plugin.report.answer.condition import judge

    found = []
    for gate in gates:
        judged = judge(gate.condition, series)
        fails = judged.shown != gate.must_be_shown
        what = "is shown" if judged.shown else "is not shown"
        verdict = "Failed" if fails else "Passed"
        found.append((fails, f'{verdict}: {gate.option} "{gate.text}" {what}: {judged.text}.'))
    return found


def exit_code(judged: Sequence[tuple[bool, str]], options: argparse.Namespace) -> int:
    """Print the lines of all conditions, and return 1 if one of them fails.

    With ``--quiet`` only those that fail are printed, and with ``--json`` none: they are in it.
    """
    for fails, line in judged:
        if not options.json and (fails or not is_silent(options)):
            print(line)
    return int(any(fails for fails, _ in judged))


def check_paper(options: argparse.Namespace) -> None:
    """Raise ``InvalidArgumentError`` if the folder of ``--paper`` cannot be written to."""
    if options.paper is not None:
        from moe_eval_plugin.report.paper.files import check_paper_folder

        read_new_folder("--paper", options.paper)
        check_paper_folder(options.paper, force=options.force)


def write_paper_files(options: argparse.Namespace, series: Sequence[SeriesStatistics]) -> list[str]:
    """Write the files of ``--paper``, and return a line about them; without the option none."""
    if options.paper is None:
        return []
    from moe_eval_plugin.report.paper.files import paper_files, write_paper

    files = paper_files(series)
    write_paper(files, options.paper)
    return [f"For a paper: {', '.join(files)} in {shown(options.paper)}"]
