"""``moe-eval reproduce``: a bundle is checked, made again, and compared number by number."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.publish.bundle.unpack import Bundle
    from moe_eval_plugin.publish.reproduce.preconditions import EnvironmentDifferences

DESCRIPTION = """\
Make a finished run again from its bundle, and say number by number what agrees.

The checksums are verified first, then differences of packages and machine are shown, then the
commands of the bundle run. A score agrees if the interval of its paired difference holds 0; the k
that was observed and the tokens of the prompts must be equal; a speed is judged where it has an
interval, by its ratio to the speed at the published k.

A bundle names commands that will run here, and only `moe-eval sweep` and `lmms-eval` are run. Look
at them first with --check-only, as you would before you run any code of others.
"""
EPILOG = """\
examples:
  moe-eval reproduce demo.tar.gz --check-only         is it whole, and what would be run?
  moe-eval reproduce demo.tar.gz                      run all of it again, and compare
  moe-eval reproduce demo.tar.gz --limit 200          a quick look: the first questions of each task
  moe-eval reproduce demo.tar.gz --against runs/mine  compare with a run that is there already

exit code: 0 if everything that is judged agrees, 1 if something differs, 2 for a bundle that is
damaged or cannot be run
"""
AGREEMENT = "agreement.json"


def add(verbs: Subcommands) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs, "reproduce", run, "run a bundle again: what agrees?", (DESCRIPTION, EPILOG)
    )
    verb.add_argument("path", type=Path, metavar="BUNDLE", help="a file of `moe-eval bundle`")
    verb.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the new run and the verdict are left (default: NAME-again, in this folder)",
    )
    verb.add_argument(
        "--check-only", action="store_true", help="verify, show differences and commands, and stop"
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
        metavar="PLACE",
        help="where the checkpoint is found here, if it was a folder of another machine",
    )
    verb.add_argument(
        "--speed-within",
        type=float,
        metavar="SHARE",
        help="judge every speed: it agrees if it is off by no more than this share, 0.1 for 10%%",
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    """Check, run again or not, compare, and leave the verdict; 1 if something differs."""
    from moe_eval_plugin.publish.bundle.unpack import unpack
    from moe_eval_plugin.publish.reproduce.preconditions import compare_environment

    _check(options)
    with ExitStack() as stack:
        if options.check_only:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="moe-eval-"))
            bundle = unpack(options.path, Path(temporary, "bundle"))
            return _show_check(options, bundle, compare_environment(bundle, options.pretrained))
        folder = options.output or _beside_here(options.path)
        _check_folder(folder)
        bundle = unpack(options.path, folder / "bundle")
        return _reproduce(options, bundle, folder)


def _check(options: argparse.Namespace) -> None:
    if options.limit is not None and options.limit < 1:
        message = f"--limit {options.limit} is not possible. Give 1 or more."
        raise InvalidArgumentError(message)
    within = options.speed_within
    if within is not None and not 0 <= within < float("inf"):
        message = f"--speed-within {within} is not possible. Give a share: 0.1 for 10%."
        raise InvalidArgumentError(message)
    if options.against is not None and (options.limit or options.pretrained):
        message = "--against runs nothing, so leave out --limit and --pretrained."
        raise InvalidArgumentError(message)


def _beside_here(path: Path) -> Path:
    return Path(f"{path.name.removesuffix('.tar.gz')}-again")


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is used for something else; what ``reproduce`` left may be there."""
    ours = ("bundle", "run", AGREEMENT)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    foreign = [name for name in names if name not in ours and not name.startswith(".bundle-")]
    if foreign or folder.is_file():
        message = (
            f"{folder} holds other files than `moe-eval reproduce` leaves. Name an empty folder "
            "with --output."
        )
        raise InvalidArgumentError(message)


def _reproduce(options: argparse.Namespace, bundle: Bundle, folder: Path) -> int:
    from moe_eval_plugin.files import write_files
    from moe_eval_plugin.publish.bundle.finished import read_finished
    from moe_eval_plugin.publish.reproduce.compare_points import compare_with_original
    from moe_eval_plugin.publish.reproduce.preconditions import (
        compare_environment,
        raise_if_no_checkpoint,
    )
    from moe_eval_plugin.publish.reproduce.rerun import rerun
    from moe_eval_plugin.publish.reproduce.text import render_agreement, render_before

    notes = sys.stderr if options.json else sys.stdout
    before = compare_environment(bundle, options.pretrained)
    print(f"{options.path}: every checksum agrees.", file=notes)
    if options.against is None:
        raise_if_no_checkpoint(bundle, options.pretrained)
        print(render_before(before), file=notes, flush=True)
        again = rerun(_commands(options, bundle), folder / "run", _tell(options), notes)
    else:
        again = options.against
    agreement = compare_with_original(
        read_finished(bundle.files),
        read_finished(again),
        limited=options.limit is not None,
        speed_within=options.speed_within,
    )
    verdict = {
        **agreement.to_dict(),
        "environment": before.to_dict() if options.against is None else None,
    }
    text = json.dumps(verdict, indent=1, ensure_ascii=False) + "\n"
    write_files({AGREEMENT: text}, folder, force=True)
    print(text if options.json else render_agreement(agreement))
    print(f"The verdict is in {folder / AGREEMENT}", file=notes)
    return 0 if agreement.agrees else 1


def _commands(options: argparse.Namespace, bundle: Bundle) -> list[list[str]]:
    from moe_eval_plugin.publish.reproduce.rerun import Changes

    changes = Changes(options.limit, options.pretrained)
    return [changes.applied(command) for command in bundle.commands]


def _tell(options: argparse.Namespace) -> Any:  # noqa: ANN401  (a function that prints)
    def tell(command: Sequence[str]) -> None:
        notes = sys.stderr if options.json else sys.stdout
        print(f"$ {shlex.join(command)}", file=notes, flush=True)

    return tell


def _show_check(options: argparse.Namespace, bundle: Bundle, before: EnvironmentDifferences) -> int:
    from moe_eval_plugin.publish.reproduce.text import render_before

    commands = _commands(options, bundle)
    if options.json:
        found = {**bundle.about, "commands": commands, "environment": before.to_dict()}
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    print(f"{options.path}: every checksum agrees.")
    print(f"Made: {bundle.about['made']}. Points: {', '.join(bundle.about['points'])}.")
    for warning in bundle.about["warnings"]:
        print(f"Warning: {warning}")
    print(render_before(before))
    print("Would run:")
    for command in commands:
        print(f"  {shlex.join(command)}")
    return 0
