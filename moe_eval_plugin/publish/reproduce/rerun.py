"""Runs the commands of a bundle again, each in a process of its own whose progress is visible."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, UserError
from moe_eval_plugin.publish.bundle.commands import OUTPUT, SWEEP, with_checkpoint, with_option
from moe_eval_plugin.results.lmms_eval_files import RESULTS_FILES, find_results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TextIO

POINT_FAILED = 1


@dataclass(frozen=True)
class Changes:
    """What is to be another way than it was: fewer questions, the checkpoint in another place."""

    limit: int | None = None
    pretrained: str | None = None

    def applied(self, command: Sequence[str]) -> list[str]:
        """Change a command of a bundle."""
        changed = list(command)
        if self.limit is not None:
            changed = with_option(changed, "--limit", str(self.limit))
        if self.pretrained is not None:
            changed = with_checkpoint(changed, self.pretrained)
        return changed


def rerun(
    commands: Sequence[Sequence[str]],
    folder: Path,
    tell: Callable[[Sequence[str]], None],
    stdout: TextIO | None = None,
) -> Path:
    """Run commands into a folder, and return what can be compared: the folder, or a results file.

    A sweep that was interrupted goes on where it was. ``tell`` is given each command before it
    runs; ``stdout`` takes what the commands print, by default this process's own. Raises
    ``UserError`` where a command does not end well, and ``DataError`` for a folder that holds a
    run already.
    """
    of_sweep = tuple(commands[0][:2]) == SWEEP
    if not of_sweep and any(folder.rglob(RESULTS_FILES)):
        message = (
            f"{folder} holds a run already, and nothing is overwritten. Name another folder with "
            f"--output, or compare with what is there: --against {folder}"
        )
        raise DataError(message)
    for command in commands:
        written = [str(folder) if part == OUTPUT else part for part in command]
        tell(written)
        _run(written, stdout)
    if of_sweep:
        return folder
    try:
        return find_results(folder)
    except RuntimeError as error:
        # The host ends with 0 after an error of its own.
        message = f"{error}. Mend what it says above, and run the same command again."
        raise UserError(message) from error


def _run(command: Sequence[str], stdout: TextIO | None) -> None:
    """Run a command with this very Python; a point that failed is left to the comparison."""
    of_sweep = tuple(command[:2]) == SWEEP
    module = ["moe_eval_plugin.cli"] if of_sweep else ["lmms_eval"]
    mortal = [
        sys.executable,
        "-m",
        "moe_eval_plugin.sweep.workers.die_with_parent",
        str(os.getpid()),
    ]
    ended = subprocess.run(  # noqa: S603  (a list; only these two programs are ever named)
        [*mortal, *module, *command[1:]], stdout=stdout, check=False
    )
    if ended.returncode == 0 or (of_sweep and ended.returncode == POINT_FAILED):
        return
    message = (
        f"{' '.join(command[:2])} ended with {ended.returncode}; its message stands above. Mend "
        "that, and run the same `moe-eval reproduce` again."
    )
    raise UserError(message)
