"""``moe-eval bundle``: a finished sweep or run in one file, to be published and made again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
Pack a finished sweep or run into one file that others can check and make again: results, samples,
the manifest of the sweep, the commands, the version of every installed package, and checksums.

RUN is the folder of `moe-eval sweep`, or a results file of lmms-eval or the folder with it. The
same run gives the same bytes. Images and weights are not packed, and environment variables never
are; files that hold what looks like an access key are refused.
"""
EPILOG = """\
examples:
  moe-eval bundle runs/demo                              writes runs/demo.tar.gz
  moe-eval bundle runs/qwen3-vl --output k-study.tar.gz  a name to publish it under
  moe-eval reproduce runs/demo.tar.gz --check-only       is it whole?
"""
SUFFIX = ".tar.gz"


def add(verbs: Subcommands) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs, "bundle", run, "pack a finished run so that others repeat it", (DESCRIPTION, EPILOG)
    )
    verb.add_argument("path", type=Path, metavar="RUN", help="folder of a sweep, or a run")
    verb.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"the file to write, NAME{SUFFIX} (default: beside RUN, with its name)",
    )
    verb.add_argument("--force", action="store_true", help="overwrite the file")


def run(options: argparse.Namespace) -> int:
    """Pack, and print where the bundle is and its checksum."""
    from moe_eval_plugin.publish.bundle.contents import collect
    from moe_eval_plugin.publish.bundle.environment import lock_text
    from moe_eval_plugin.publish.bundle.pack import pack

    output = options.output or _beside(options.path)
    if not output.name.endswith(SUFFIX):
        message = f"--output {output} is not possible. Name a file that ends in {SUFFIX}."
        raise InvalidArgumentError(message)
    lock = lock_text()
    contents = collect(options.path, lock)
    digest = pack(contents, lock, output, force=options.force)
    for warning in contents.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    size = output.stat().st_size / 1024
    n_points = len(contents.about["points"])
    print(f"{output}: {n_points} {'points' if n_points > 1 else 'point'}, {size:,.0f} KiB")
    print(f"sha256 {digest}")
    print("Images and weights are not in it. Publish the checksum beside the file.")
    return 0


def _beside(path: Path) -> Path:
    whole = path.resolve()
    return path.parent / f"{whole.name.removesuffix('.json')}{SUFFIX}"
