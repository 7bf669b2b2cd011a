"""``moe-eval doctor``: check the installation and this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
Check the installation and what can run on this machine, and suggest fixes.

torch is imported in a separate process, which reports the GPUs. torchvision is checked by its
compiled operators, whose CUDA version must be that of torch; it is imported only if this check
fails. Other packages are checked by their versions.
"""
EPILOG = """\
examples:
  moe-eval doctor
  moe-eval doctor --network          also check that the Hub answers
  moe-eval doctor --json

exit code: 0 when nothing is wrong, else 1
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs,
        "doctor",
        run,
        "check the installation and this machine",
        (DESCRIPTION, EPILOG),
    )
    verb.add_argument(
        "--network", action="store_true", help="also check that the Hub answers (at most 3 s)"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Print the checks; 1 if one of them failed."""
    from moe_eval_plugin.doctor.check import exit_code, render, summary
    from moe_eval_plugin.doctor.examine import examine
    from moe_eval_plugin.hosts.harness import LMMS_EVAL, is_installed

    checks = []
    with Status.of(options) as status:
        status.doing("checking the installation")
        for check in examine(network=options.network):
            checks.append(check)
            if not options.json:
                status.write(render(check), sys.stdout)
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    elif options.quiet:
        print("\n".join([*(render(one) for one in checks if one.status != "ok"), summary(checks)]))
    else:
        print(f"\n{summary(checks)}")
    code = exit_code(checks)
    if not is_silent(options):
        first = "moe-eval demo" if is_installed(LMMS_EVAL) else "moe-eval lm-eval --help"
        if code:
            show_end("Fix what failed, and check again.", following="moe-eval doctor")
        else:
            show_end(following=first)
    return code
