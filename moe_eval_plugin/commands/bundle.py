"""``moe-eval bundle``: pack a finished sweep or run into one file that others can repeat."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, shown
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_new_file
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
Pack a finished sweep or run into one file that others can check and repeat: results, samples, the
manifest of the sweep and its timed passes, the commands, the version of every installed package,
and checksums.

RUN is the folder of `moe-eval sweep`, a results file of lmms-eval or lm-eval, or its folder. The
same run gives the same bytes. Images, weights and environment variables are not packed; files that
contain what looks like an access key are refused.
"""
EPILOG = """\
examples:
  moe-eval bundle runs/sweep                         writes runs/sweep.tar.gz
  moe-eval bundle runs/qwen3-vl -o k-study.tar.gz    a name to publish it under
  moe-eval reproduce runs/sweep.tar.gz --check-only  check it
"""
SUFFIX = ".tar.gz"


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs,
        "bundle",
        run,
        "pack a finished run so that others can repeat it",
        (DESCRIPTION, EPILOG),
    )
    verb.add_argument("path", type=Path, metavar="RUN", help="folder or results file")
    verb.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FILE",
        help=f"file to write, NAME{SUFFIX} (default: next to RUN, with its name)",
    )
    verb.add_argument("--force", action="store_true", help="overwrite an existing file")
    verb.add_argument("--json", action="store_true", help="print JSON: the path and the checksum")


def run(options: argparse.Namespace) -> int:
    """Pack, and print the path of the bundle and its checksum."""
    from moe_eval_plugin.publish.bundle.contents import collect
    from moe_eval_plugin.publish.bundle.environment import lock_text
    from moe_eval_plugin.publish.bundle.pack import pack

    output = options.output or _default_output(options.path)
    if not output.name.endswith(SUFFIX):
        message = f"--output {output} is not possible. Choose a name that ends in {SUFFIX}."
        raise InvalidArgumentError(message)
    read_new_file("--output", output)
    lock = lock_text()
    contents = collect(options.path, lock)
    digest = pack(contents, lock, output, force=options.force)
    description, size = contents.description, output.stat().st_size
    for warning in description.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    if options.json:
        content = {
            "bundle": str(output),
            "sha256": digest,
            "bytes": size,
            "settings": list(description.points),
            "warnings": list(description.warnings),
        }
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return 0
    print(f"{output}: {counted(len(description.points), 'setting')}, {size / 1024:,.0f} KiB")
    print(f"sha256 {digest}")
    if is_silent(options):
        return 0
    show_end(
        "Images and weights are not in it. Publish the sha256 somewhere people trust.",
        following=f"moe-eval reproduce {shown(output)} --check-only",
    )
    return 0


def _default_output(path: Path) -> Path:
    whole = path.resolve()
    return path.parent / f"{whole.name.removesuffix('.json')}{SUFFIX}"
