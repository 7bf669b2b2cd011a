"""``moe-eval data``: check official data files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.status import shows_progress
from moe_eval_plugin.commands.subcommand import add_verb

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
Check the official files of OK-VQA and VQAv2 on this disk.
"""
CHECK_DESCRIPTION = """\
Check the official files of OK-VQA and VQAv2 in a folder and two levels of folders below it: that
they are complete, that questions, annotations and images agree, and that each file is of the split
in its name. Each finding comes with its number, the first few question ids, and the fix.

A missing split is not an error, unless all are missing. Missing images are a warning, because their
questions can be left out; with MOE_EVAL_DATA_STRICT=1 they are an error.
"""
EPILOG = """\
examples:
  moe-eval data check /data/vqa
  moe-eval data check /data/vqa --json

exit code: 0 when there is no error, else 1
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(verbs, "data", run, "check official data files", (DESCRIPTION, EPILOG))
    parts = verb.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = add_verb(
        parts,
        "check",
        run,
        "check the official OK-VQA and VQAv2 files",
        (CHECK_DESCRIPTION, EPILOG),
    )
    check.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="folder with the official files, as in MOE_EVAL_DATA",
    )
    check.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(options: argparse.Namespace) -> int:
    """Check the files with a progress bar, and print the report; return 1 if there is an error."""
    from tqdm import tqdm

    from moe_eval_plugin.vqa.check import check_folder, count_bytes, exit_code
    from moe_eval_plugin.vqa.check_text import render, to_dict
    from moe_eval_plugin.vqa.dataset import is_strict

    folder = options.folder.expanduser()
    # Without a terminal, nobody watches the bar.
    disable = None if shows_progress(options) else True
    with tqdm(
        total=count_bytes(folder), unit="B", unit_scale=True, leave=False, disable=disable
    ) as bar:
        reports = check_folder(folder, strict=is_strict(), progress=bar.update)
    print(
        json.dumps(to_dict(folder, reports), indent=2) if options.json else render(folder, reports)
    )
    return exit_code(reports)
