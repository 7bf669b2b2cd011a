"""``moe-eval export``: write a finished run in the format of another tool or leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, shown
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.option_values import read_new_folder
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

# The value of --format without a name. It is no text, since no text is empty.
ALL_FORMATS = object()
LIST = "list"
DESCRIPTION = """\
Write a finished run in the file format of another tool or of a leaderboard, or send it to an
experiment tracker.

RUN is a results file of lmms-eval or lm-eval, or a folder with one or more of them, for instance
that of --output_path. Formats with the answers themselves need a run with --log_samples.

The files are written into the folder RUN, or that of --output; all of them or none. The formats
wandb, trackio and mlflow send runs with the tracker's own client, and read its settings.
"""
EPILOG = """\
examples:
  moe-eval export --format list                  the formats
  moe-eval export --format markdown runs/sweep   a row for each k
  WANDB_MODE=offline moe-eval export --format wandb runs/sweep
  moe-eval export --format evalai runs/qwen3-vl  answers to VQAv2, for EvalAI
  moe-eval export --format okvqa runs/qwen3-vl --output submission
  moe-eval export --format okvqa runs/qwen3-vl --list-missing > missing.txt

Submissions are checked against the questions in the folder MOE_EVAL_DATA, and scored as by the
official script. An incomplete run is refused, and so are scores to publish that count failed
requests as wrong answers.
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs,
        "export",
        run,
        "write a run in the format of another tool or of a leaderboard",
        (DESCRIPTION, EPILOG),
    )
    verb.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="results file or folder")
    verb.add_argument(
        "--format",
        nargs="?",
        const=ALL_FORMATS,
        metavar="NAME",
        help="the format; `list` or no name lists and describes all formats",
    )
    verb.add_argument("--task", help="task to write (default: all that the format supports)")
    verb.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="DIR",
        help="folder to write to (default: that of the run)",
    )
    verb.add_argument("--force", action="store_true", help="overwrite existing files")
    verb.add_argument(
        "--list-missing",
        action="store_true",
        help="if a run is incomplete, print each faulty question id with its fault",
    )
    verb.add_argument("--json", action="store_true", help="print JSON: the paths and the notes")


def run(options: argparse.Namespace) -> int:
    """Write the files; print their paths and the notes of the exporter."""
    from moe_eval_plugin import files
    from moe_eval_plugin.errors import InvalidArgumentError
    from moe_eval_plugin.publish.exports import failures, formats
    from moe_eval_plugin.results.files import find_runs

    if options.format in {ALL_FORMATS, LIST}:
        return _list_formats(as_json=options.json)
    if options.format is None or not options.runs:
        message = "Use `moe-eval export --format NAME RUN`; --format list lists the formats."
        raise InvalidArgumentError(message)
    if options.output is not None:
        read_new_folder("--output", options.output)
    exporter = formats.find_exporter(options.format)
    runs = [run for path in options.runs for run in find_runs(path)]
    try:
        exported = exporter.export(runs, options.task)
    except failures.IncompleteRunError as error:
        if options.list_missing:
            faults = [*map(str, error.faults)]
            print(json.dumps({"faults": faults}) if options.json else "\n".join(faults))
        raise
    written: list[str] = []
    if exported.files:
        folder = options.output or formats.common_folder(options.runs)
        written = [*map(str, files.write_files(exported.files, folder, force=options.force))]
    if options.json:
        content = {"format": options.format, "files": written, "notes": list(exported.notes)}
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return 0
    print(*(f"wrote {path}" for path in written), *(f"  {one}" for one in exported.notes), sep="\n")
    if not is_silent(options):
        n = len(exported.files)
        what = f", {counted(n, 'file')}" if n else ""
        done = f"Done: {counted(len(runs), 'run')} as {options.format}{what}."
        show_end(done, following=f"moe-eval bundle {shown(options.runs[0])}")
    return 0


def _list_formats(*, as_json: bool) -> int:
    from moe_eval_plugin.plugins.manager import registered_exporters
    from moe_eval_plugin.publish.exports.formats import render_formats

    known = registered_exporters()
    listed = [{"name": name, "summary": known[name].summary} for name in sorted(known)]
    print(json.dumps({"formats": listed}, indent=2) if as_json else render_formats())
    return 0
