"""``moe-eval schedule``: show a schedule of k, and export it to the tools that run a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, shown
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.files import write_files
from moe_eval_plugin.option_values import read_new_file
from moe_eval_plugin.publish.deployment.tools import ALL, TARGETS

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.publish.deployment.exports import Exports
    from moe_eval_plugin.publish.deployment.setting import SettingToDeploy

DESCRIPTION = """\
Show a schedule of k, and write what runs it elsewhere.
"""
SHOW_DESCRIPTION = """\
Show k by layer, its mean, its price against the published k, and how it was found: the target, the
loss, the uniform k of the same price, and the calibration questions.

FILE is written by `moe-eval tune`, or has a list of rules. SCHEDULE is a value of experts_k, such
as 8/2-3:4. With a model, k is given for each of its layers, and the price in FLOPs too; a FILE
names the model that it was tuned on. Only the configuration of the model is read.
"""
EXPORT_DESCRIPTION = """\
Write what runs a schedule in another tool: a Python program for transformers, with this package and
without it; the command line of `vllm serve`, which needs this package in the environment of vLLM;
for llama.cpp the option with the one number that it takes. If a tool cannot run the schedule, the
command fails; with --for all, the reason is in its place. A table of tools follows.
"""
EPILOG = """\
examples:
  moe-eval schedule show tuned-0.5.yaml
  moe-eval schedule export tuned-0.5.yaml --for all
"""
SHOW_EPILOG = """\
examples:
  moe-eval schedule show tuned-0.5.yaml
  moe-eval schedule show 8/2-3:4 --model demo
"""
EXPORT_EPILOG = """\
examples:
  moe-eval schedule export tuned-0.5.yaml --for all
  moe-eval schedule export tuned-0.5.yaml --for transformers -o run.py
  moe-eval schedule export 8/2-3:4 --for vllm --model demo
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand with its two commands."""
    verb = add_verb(
        verbs, "schedule", run_show, "show a schedule of k, and export it", (DESCRIPTION, EPILOG)
    )
    parts = verb.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = add_verb(
        parts,
        "show",
        run_show,
        "show k by layer, the price, and how the schedule was found",
        (SHOW_DESCRIPTION, SHOW_EPILOG),
    )
    export = add_verb(
        parts,
        "export",
        run_export,
        "write what runs the schedule in another tool",
        (EXPORT_DESCRIPTION, EXPORT_EPILOG),
    )
    for part in (show, export):
        _add_setting(part)
    export.add_argument(
        "--for",
        dest="target",
        required=True,
        choices=(*TARGETS, ALL),
        metavar="TOOL",
        help=f"the tool: {', '.join(TARGETS)}, or {ALL}",
    )
    export.add_argument(
        *("-o", "--output"), type=Path, metavar="FILE", help="write into a file, and not here"
    )
    for part in (show, export):
        part.add_argument("--json", action="store_true", help="print JSON instead of text")


def run_show(options: argparse.Namespace) -> int:
    """Print what the schedule asks of the model."""
    from moe_eval_plugin.publish.deployment.overview import overview
    from moe_eval_plugin.publish.deployment.overview_text import render

    with Status.of(options) as status:
        status.doing("reading the configuration, and building the model without its weights")
        found = overview(_read(options))
    print(json.dumps(found.to_dict(), indent=2) if options.json else render(found))
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Print or write what runs the schedule elsewhere."""
    from moe_eval_plugin.publish.deployment.exports import write_exports

    if options.output is not None:
        read_new_file("--output", options.output)
    with Status.of(options) as status:
        status.doing("reading the configuration, and building the model without its weights")
        found = write_exports(_read(options), options.target)
    content = json.dumps(found.to_dict(), indent=2) + "\n" if options.json else found.text
    if options.output is None:
        print(content.rstrip("\n"))
    else:
        write_files({options.output.name: content}, options.output.parent)
    if not is_silent(options):
        _show_tools(found, options.output)
    return 0


def _add_setting(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "schedule",
        metavar="FILE|SCHEDULE",
        help="a file of `moe-eval tune` or of rules, or a value of experts_k",
    )
    part.add_argument(
        "--model",
        metavar="MODEL",
        help="a folder, a model id of the Hub, or demo (default: that of FILE)",
    )
    part.add_argument("--revision", help="branch, tag or commit on the Hub (default: main)")
    part.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run the code that comes with a model that transformers does not know",
    )


def _read(options: argparse.Namespace) -> SettingToDeploy:
    from moe_eval_plugin.publish.deployment.setting import NamedModel, read_setting

    named = (
        NamedModel(options.model, options.revision, options.trust_remote_code)
        if options.model
        else None
    )
    return read_setting(options.schedule, named)


def _show_tools(found: Exports, output: Path | None) -> None:
    from moe_eval_plugin.publish.deployment.tools_text import render_tools

    print()
    print(render_tools(found))
    if output is not None:
        show_end(where=f"\nWritten: {shown(output)}")
