"""Run the commands of a bundle again, each in its own process with visible progress."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError, UserError
from moe_eval_plugin.publish.bundle.commands import (
    OUTPUT,
    host_of,
    is_sweep,
    with_checkpoint,
    with_option,
    with_recorded_checkpoint,
)
from moe_eval_plugin.results.files import find_results, results_files
from moe_eval_plugin.sweeps.manifest import MANIFEST
from moe_eval_plugin.sweeps.plan import SCHEDULES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TextIO

POINT_FAILED = 1
INTERRUPTED = (130, -signal.SIGINT)


@dataclass(frozen=True)
class Changes:
    """Changes to the commands of a bundle: fewer questions, another path of the checkpoint.

    ``recorded`` is the checkpoint that the results record, for commands that name none.
    ``bundle`` is the folder of the unpacked bundle, with the files of schedules and policies.
    """

    recorded: str
    limit: int | None = None
    pretrained: str | None = None
    bundle: Path | None = None

    def applied(self, command: Sequence[str]) -> list[str]:
        """Return a command of a bundle with these changes."""
        changed = [self._with_files(part) for part in command]
        if self.limit is not None and "--samples" in command:
            message = (
                f"--limit {self.limit} is not possible: the command names the questions to ask "
                "with --samples. Leave it out."
            )
            raise InvalidArgumentError(message)
        if self.limit is not None:
            changed = with_option(changed, "--limit", str(self.limit))
        if self.pretrained is not None:
            return with_checkpoint(changed, self.pretrained)
        return with_recorded_checkpoint(changed, self.recorded)

    def _with_files(self, part: str) -> str:
        if self.bundle is None:
            return part
        return part.replace(f"@{SCHEDULES}/", f"@{self.bundle.resolve() / SCHEDULES}/")


def rerun(
    commands: Sequence[Sequence[str]],
    folder: Path,
    on_command: Callable[[Sequence[str]], None],
    stdout: TextIO | None = None,
) -> Path:
    """Run commands into a folder, and return it, or the results file of a single run.

    An interrupted sweep is continued. ``on_command`` is called with each command before it runs;
    ``stdout`` is where the commands print, by default that of this process. Raises ``UserError``
    if a command fails, and ``DataError`` if the folder already holds a run.
    """
    of_sweep = is_sweep(commands[0])
    if not of_sweep and results_files(folder):
        message = (
            f"{folder} already holds a run, and nothing is overwritten. Choose another folder with "
            f"--output, or compare with that run: --against {folder}"
        )
        raise DataError(message)
    for command in commands:
        to_run = written(command, str(folder))
        on_command(to_run)
        _run(to_run, stdout)
    if of_sweep and not (folder / MANIFEST).is_file():
        message = (
            f"`moe-eval sweep` left no sweep in {folder}; see its message above. Fix that, and run "
            "the same `moe-eval reproduce` again."
        )
        raise UserError(message)
    if of_sweep:
        return folder
    try:
        return find_results(folder)
    except RuntimeError as error:
        # Hosts may exit with 0 after an error.
        message = f"{error}. Fix the error above, and run the same command again."
        raise UserError(message) from error


def written(command: Sequence[str], folder: str) -> list[str]:
    """Return a command of a bundle with the folder that it writes to."""
    return [folder if part == OUTPUT else part for part in command]


def _run(command: Sequence[str], stdout: TextIO | None) -> None:
    """Run a command with this Python; the comparison reports points that failed."""
    of_sweep = is_sweep(command)
    with_parent = [
        sys.executable,
        "-m",
        "moe_eval_plugin.sweeps.workers.die_with_parent",
        str(os.getpid()),
    ]
    with subprocess.Popen(  # noqa: S603  (a list; only these programs are ever named)
        [*with_parent, *module_arguments(command)], stdout=stdout
    ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The terminal has interrupted it as well: it saves what it has, and says so.
            process.wait()
            raise
    if code == 0 or (of_sweep and code == POINT_FAILED):
        return
    if code in INTERRUPTED:
        raise KeyboardInterrupt
    message = (
        f"{' '.join(command[:2])} ended with exit code {code}; see its message above. "
        "Fix that, and run the same `moe-eval reproduce` again."
    )
    raise UserError(message)


def module_arguments(command: Sequence[str]) -> list[str]:
    """Return the module and the arguments with which ``python -m`` runs a command."""
    tool = host_of(command)
    if tool is None:
        message = f"{' '.join(command[:2])} is not a command of a bundle, and is not run."
        raise DataError(message)
    if is_sweep(command):
        return ["moe_eval_plugin", *command[1:]]
    return [*tool.module, *command[len(tool.program) :]]
