"""``moe-eval report``: write a page that shows the accuracy and the speed at each k."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands import report_gate
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_new_file
from moe_eval_plugin.text import wrap

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from moe_eval_plugin.commands.subcommand import Options as OptionGroup
    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.report.build import Report

DESCRIPTION = """\
Write one HTML file about finished runs: accuracy and speed at each k with intervals and tests, the
choices of the routers, all numbers in a sortable table, the questions whose answers changed with
their images, and the sources of everything. The file needs no network.

RUN is a folder of a sweep, any other folder with results files of lmms-eval or lm-eval, or such a
file. One page may show runs of both. Runs of other models, which have no k, are shown too.
Differences and changed questions need runs with --log_samples.

A folder next to the page has each chart as PNG and SVG, and the table as CSV and Markdown.
"""
EPILOG = """\
examples:
  moe-eval report runs/sweep --open
  moe-eval report runs/qwen3-vl runs/llava --task okvqa --output okvqa.html
  moe-eval report runs/seeds --checkpoints        several seeds of one model
  moe-eval report runs/sweep --bench bench.json   with speed-ups by batch size
  moe-eval report runs/sweep --paper paper        tables, figures, a caption
  moe-eval report runs/sweep --fail-unless "loss(k=4) < 1"

The images of okvqa and vqa_v2_val are read from the folder MOE_EVAL_DATA.
"""
NAME = "report.html"


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs,
        "report",
        run,
        "write an HTML report about finished runs",
        (DESCRIPTION, f"{EPILOG}\n{report_gate.EPILOG}"),
    )
    verb.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder or results file")
    _add_content(verb.add_argument_group("what to show"))
    _add_output(verb.add_argument_group("output"))
    report_gate.add_options(verb.add_argument_group("checks and papers"))


def _add_content(verb: OptionGroup) -> None:
    verb.add_argument("--task", help="show only this task (default: all)")
    verb.add_argument("--metric", help="metric to show (default: the main one of the task)")
    verb.add_argument(
        "--within",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="largest loss you accept, in points (default: 1)",
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
        help="show at most N questions of each setting and kind of change (default: 200)",
    )
    verb.add_argument(
        "--checkpoints",
        action="store_true",
        help="the models are checkpoints of one, e.g. seeds of its training: pool their effects, "
        "with intervals over checkpoints",
    )
    verb.add_argument("--title", help="heading of the page (default: models and tasks)")
    verb.add_argument(
        "--label",
        nargs="+",
        default=[],
        metavar="A=NAME",
        help="name a series, by the letter that the page gives it: --label A=before B=after",
    )


def _add_output(verb: OptionGroup) -> None:
    verb.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FILE",
        help=f"HTML file to write (default: {NAME} next to the runs)",
    )
    verb.add_argument("--open", action="store_true", help="open the page in the browser")
    verb.add_argument(
        "--force",
        action="store_true",
        help="overwrite an existing file that moe-eval did not write",
    )
    verb.add_argument(
        "--json", action="store_true", help="print JSON: the paths and the recommendations"
    )


def run(options: argparse.Namespace) -> int:
    """Write the report, print what it found and its path, and open it with --open."""
    from moe_eval_plugin.report.build import Options, build
    from moe_eval_plugin.report.write import check_output, folder_of, write_report

    _check(options)
    gates = report_gate.read_gates(options)
    path = options.output or _default_output(options.runs)
    read_new_file("--output", path)
    check_output(path, force=options.force)
    report_gate.check_paper(options)
    with Status.of(options) as status:
        report = build(
            options.runs,
            Options(
                title=options.title,
                task=options.task,
                metric=options.metric,
                margin_points=options.within,
                max_questions=options.max_questions,
                benches=options.bench,
                labels=_labels(options.label),
                checkpoints=options.checkpoints,
                folder=folder_of(path).name,
            ),
            status.doing,
        )
        judged = report_gate.judge_gates(gates, report.series)
        status.counting("drawing the charts as files", len(report.figures), "charts")
        page, *others = write_report(report, path, status.advance)
        paper = report_gate.write_paper_files(options, report.series)
    if options.json:
        _show_json(report, [page, *others], judged, options)
    else:
        _show(report, [page, *others], paper, options)
    if options.open:
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            print("No browser could be started: open the file yourself.", file=sys.stderr)
    return report_gate.exit_code(judged, options)


def _show(
    report: Report, written: Sequence[Path], paper: Sequence[str], options: argparse.Namespace
) -> None:
    """Print what was found, where the page and the files of a paper are, and the next command."""
    from moe_eval_plugin.commands.ending import answer_lines, is_silent, show_end, shown
    from moe_eval_plugin.report.answer.answer import answer
    from moe_eval_plugin.report.answer.summary import summary_lines

    if is_silent(options):
        if not getattr(options, "json", False):
            show_end(*answer_lines(map(answer, report.series)))
        return
    page, *others = written
    found = list(summary_lines(report.series))
    for line in found:
        print("\n".join(wrap(line, rest="    ")))
    size = f"{page.stat().st_size / 1e6:.1f} MB"
    # Without a baseline, the sentence of the answer is among what was found.
    answers = [one for one in map(answer, report.series) if f"  {one.sentence}" not in found]
    # A bundle holds one sweep: that of one checkpoint.
    can_be_bundled = len(options.runs) == 1 and not options.checkpoints
    show_end(
        *answer_lines(answers),
        f"Report: {shown(page)} ({size}), and {len(others)} charts and tables in "
        f"{shown(others[0].parent)}",
        *paper,
        following=f"moe-eval bundle {shown(options.runs[0])}" if can_be_bundled else "",
    )


def _show_json(
    report: Report,
    written: Sequence[Path],
    judged: Sequence[tuple[bool, str]],
    options: argparse.Namespace,
) -> None:
    from dataclasses import asdict

    from moe_eval_plugin.report.answer.answer import answer
    from moe_eval_plugin.report.tables.equal_price_table import price_records

    page, *others = map(str, written)
    content = {
        "page": page,
        "files": others,
        "paper": str(options.paper) if options.paper else None,
        "answers": [asdict(answer(one)) for one in report.series],
        "equal_price": [row for one in report.series for row in price_records(one)],
        "checkpoints": [one.to_dict() for one in report.checkpoints],
        "conditions": [{"failed": fails, "text": text} for fails, text in judged],
    }
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _check(options: argparse.Namespace) -> None:
    if not 0 < options.within < math.inf:
        message = f"--within {options.within} is not possible. Use a number of points above 0."
        raise InvalidArgumentError(message)
    if options.max_questions < 0:
        message = f"--max-questions {options.max_questions} is not possible. Use 0 or more."
        raise InvalidArgumentError(message)


def _labels(texts: Sequence[str]) -> dict[str, str]:
    """Return the names of series by their letters."""
    labels = {}
    for text in texts:
        letter, separator, name = text.partition("=")
        if not (letter and separator and name.strip()):
            message = f"--label {text} is not possible. Use the letter of a series, as in A=before."
            raise InvalidArgumentError(message)
        labels[letter] = name.strip()
    return labels


def _default_output(runs: list[Path]) -> Path:
    """Return the default output: in the folder of the runs, or the one that holds them all."""
    import os

    folders = [path if path.is_dir() else path.parent for path in runs]
    return Path(os.path.commonpath([folder.resolve() for folder in folders]), NAME)
