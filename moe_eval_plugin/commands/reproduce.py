"""``moe-eval reproduce``: check a bundle, run it again, and compare every number."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, shown
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_new_folder
from moe_eval_plugin.text import setting_label, wrap_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import TextIO

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.publish.bundle.unpack import Bundle
    from moe_eval_plugin.publish.reproduce.preconditions import EnvironmentDifferences

DESCRIPTION = """\
Run a bundle again, and compare every number with the original.

The checksums are verified first, then differences of packages and machine are shown, then the
commands of the bundle run, the timed pass included. Each aspect is judged by itself. An accuracy is
reproduced if the interval of its paired difference contains 0; the experts used, the questions and
the tokens of the prompts must be equal; a speed-up over the published k is reproduced if the
interval of the ratio of the two speed-ups contains 1, and never if it turned into a slow-down. A
speed that was timed once is not judged.

The commands in a bundle run on this machine; only `moe-eval sweep`, `lmms-eval` and `moe-eval
lm-eval run` are allowed. Inspect them first with --check-only, as before running anyone
else's code.
"""
EPILOG = """\
examples:
  moe-eval reproduce demo.tar.gz                      run all of it again
  moe-eval reproduce demo.tar.gz --check-only         show what would run
  moe-eval reproduce demo.tar.gz --limit 200          the first questions only
  moe-eval reproduce demo.tar.gz --against runs/mine  compare with this run
  moe-eval reproduce demo.tar.gz --verbose            print every number

exit code: 0 if every aspect that is judged is reproduced, 1 if one is not or nothing is judged, 2
for a bundle that is damaged or cannot be run
"""
AGREEMENT = "agreement.json"
RUN = "run"


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs, "reproduce", run, "rerun a bundle and compare every number", (DESCRIPTION, EPILOG)
    )
    verb.add_argument("path", type=Path, metavar="BUNDLE", help="file of `moe-eval bundle`")
    verb.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FOLDER",
        help="folder for the new run and the comparison (default: ./NAME-again)",
    )
    verb.add_argument(
        "--check-only",
        action="store_true",
        help="verify, show differences and commands, and run nothing",
    )
    verb.add_argument(
        "--against",
        type=Path,
        metavar="RUN",
        help="compare with this sweep or run, and run nothing",
    )
    verb.add_argument("--limit", type=int, metavar="N", help="ask only N questions of each task")
    verb.add_argument(
        "--pretrained",
        metavar="PATH",
        help="local copy of the checkpoint, if it was a folder of another machine",
    )
    verb.add_argument(
        "--speed-within",
        type=float,
        metavar="SHARE",
        help="judge every speed: it agrees if it differs by at most this share, e.g. 0.1 for 10%%",
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    """Check, run again, compare, and write the comparison; return 1 if something differs."""
    from moe_eval_plugin.publish.bundle.unpack import unpack
    from moe_eval_plugin.publish.reproduce.preconditions import compare_environment

    _check(options)
    with ExitStack() as stack:
        if options.check_only:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="moe-eval-"))
            bundle = unpack(options.path, Path(temporary, "bundle"))
            return _show_check(options, bundle, compare_environment(bundle, options.pretrained))
        folder = options.output or _default_output(options.path)
        read_new_folder("--output", folder)
        _check_folder(folder)
        bundle = unpack(options.path, folder / "bundle")
        return _reproduce(options, bundle, folder)


def _check(options: argparse.Namespace) -> None:
    if options.limit is not None and options.limit < 1:
        message = f"--limit {options.limit} is not possible. Use 1 or more."
        raise InvalidArgumentError(message)
    within = options.speed_within
    if within is not None and not 0 <= within < float("inf"):
        message = f"--speed-within {within} is not possible. Use a share, e.g. 0.1 for 10%."
        raise InvalidArgumentError(message)
    if options.against is not None and (options.limit or options.pretrained):
        message = "--against runs nothing: remove --limit and --pretrained."
        raise InvalidArgumentError(message)


def _default_output(path: Path) -> Path:
    return Path(f"{path.name.removesuffix('.tar.gz')}-again")


def _check_folder(folder: Path) -> None:
    """Raise ``InvalidArgumentError`` for a folder that holds other files than those of a rerun."""
    ours = ("bundle", RUN, AGREEMENT)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    foreign = [name for name in names if name not in ours and not name.startswith(".bundle-")]
    if foreign or folder.is_file():
        message = (
            f"{folder} holds files that `moe-eval reproduce` did not write. Choose an empty folder "
            "with --output."
        )
        raise InvalidArgumentError(message)


def _reproduce(options: argparse.Namespace, bundle: Bundle, folder: Path) -> int:
    from moe_eval_plugin.files import write_files
    from moe_eval_plugin.hosts.harness import check_installed
    from moe_eval_plugin.publish.bundle.finished import read_finished
    from moe_eval_plugin.publish.reproduce.compare_points import compare_with_original
    from moe_eval_plugin.publish.reproduce.preconditions import (
        compare_environment,
        raise_if_not_runnable,
    )
    from moe_eval_plugin.publish.reproduce.rerun import rerun
    from moe_eval_plugin.publish.reproduce.text import render_agreement, render_before

    if options.against is None:
        check_installed(bundle.description.host)
    notes = sys.stderr if options.json else sys.stdout
    before = compare_environment(bundle, options.pretrained)
    print(f"{options.path}: all checksums agree.", file=notes)
    if options.against is None:
        raise_if_not_runnable(bundle, options.pretrained)
        print(render_before(before), file=notes, flush=True)
        on_command = partial(_print_command, file=notes)
        try:
            commands = _commands(options, bundle, bundle.folder)
            again = rerun(commands, folder / RUN, on_command, notes)
        except KeyboardInterrupt:
            kept = f"The answers are saved in {shown(folder)}; run the same command to continue."
            raise KeyboardInterrupt(kept) from None
    else:
        again = options.against
    agreement = compare_with_original(
        read_finished(bundle.files),
        read_finished(again),
        limited=options.limit is not None,
        speed_within=options.speed_within,
    )
    comparison = {
        **agreement.to_dict(),
        "environment": before.to_dict() if options.against is None else None,
    }
    text = json.dumps(comparison, indent=1, ensure_ascii=False) + "\n"
    write_files({AGREEMENT: text}, folder, force=True)
    print(text if options.json else render_agreement(agreement, verbose=options.verbose))
    if not is_silent(options):
        show_end(
            where=f"All numbers: {shown(folder / AGREEMENT)}",
            following=f"moe-eval report {shown(again)} --open",
        )
    return 0 if agreement.agrees else 1


def _commands(options: argparse.Namespace, bundle: Bundle, folder: Path) -> list[list[str]]:
    """Return what is run, once the bundle is unpacked into ``folder``."""
    from moe_eval_plugin.publish.reproduce.rerun import Changes

    recorded = bundle.description.checkpoint.pretrained
    changes = Changes(recorded, options.limit, options.pretrained, folder)
    return [changes.applied(command) for command in bundle.description.commands]


def _print_command(command: Sequence[str], file: TextIO) -> None:
    print(f"$ {shlex.join(command)}", file=file, flush=True)


def _show_check(options: argparse.Namespace, bundle: Bundle, before: EnvironmentDifferences) -> int:
    from moe_eval_plugin.publish.reproduce.rerun import written
    from moe_eval_plugin.publish.reproduce.text import render_before

    folder = options.output or _default_output(options.path)
    commands = _commands(options, bundle, folder / "bundle")
    if options.json:
        stored = bundle.description.to_dict()
        found = {**stored, "commands": commands, "environment": before.to_dict()}
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    print(f"{options.path}: all checksums agree.")
    settings = ", ".join(map(setting_label, bundle.description.points))
    print(f"Run at {bundle.description.made}. Settings: {settings}.")
    for warning in bundle.description.warnings:
        print(f"Warning: {warning}")
    print(render_before(before))
    print("Would run:")
    output = str(folder / RUN)
    for command in commands:
        print("\n".join(wrap_command(shlex.join(written(command, output)), first="  ")))
    show_end(following=f"moe-eval reproduce {shown(options.path)}")
    return 0
