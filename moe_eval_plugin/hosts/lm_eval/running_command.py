"""Run lm-eval's own command with our models registered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.hosts.replacement import replaced

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_command(arguments: Sequence[str]) -> int:
    """Run lm-eval with these arguments, all of them unchanged; return its exit code.

    Its own errors are raised as it raises them.
    """
    register()
    from lm_eval.__main__ import cli_evaluate

    with replaced(sys, "argv", ["lm-eval", *arguments]):
        try:
            cli_evaluate()
        except SystemExit as ended:
            # argparse ends with a code, after its help too.
            if isinstance(ended.code, int | None):
                return ended.code or 0
            raise
    return 0
