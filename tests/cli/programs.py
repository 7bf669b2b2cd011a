"""Run the commands: in this process, or in one of their own where the process is the point."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from moe_eval_plugin import cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

Ended = subprocess.CompletedProcess[str]

MOE_EVAL = Path(sys.executable).with_name("moe-eval")
LMMS_EVAL = Path(sys.executable).with_name("lmms-eval")
TIME_LIMIT_S = 900
# Most of what a sweep over the embedded model imports.
IMPORTED = (
    "lmms_eval.evaluator",
    "moe_eval_plugin.cli",
    "transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe",
)


def start(*command: object, cwd: Path | None = None, **variables: object) -> Ended:
    """Run a program in a process of its own to its end."""
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **_texts(variables)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT_S,
    )


def moe_eval(*arguments: object, cwd: Path | None = None, **variables: object) -> Ended:
    """Run ``moe-eval`` in this process, which spares the import of its libraries."""
    command = ["moe-eval", *map(str, arguments)]
    return _run_here(lambda: cli.main(command[1:]), command, cwd, _texts(variables))


def started_moe_eval(*arguments: object) -> BaseProcess:
    """Start ``moe-eval`` in a process of its own, to be killed.

    It is a copy of a process without threads, which imports the libraries once for all copies.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    process = context.Process(target=cli.main, args=([*map(str, arguments)],))
    process.start()
    return process


def lmms_eval(*arguments: object, cwd: Path | None = None, **variables: object) -> Ended:
    """Run the ``lmms-eval`` command in this process, by its own entry point."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="lmms-eval")
    command = ["lmms-eval", *map(str, arguments)]
    return _run_here(script.load(), command, cwd, _texts(variables))


def _run_here(
    main: Callable[[], object], command: list[str], cwd: Path | None, variables: dict[str, str]
) -> Ended:
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd or Path.cwd()),
        patch.dict(os.environ, variables),
        patch.object(sys, "argv", command),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
    return Ended(command, _exit_code(code), stdout.getvalue(), stderr.getvalue())


def _exit_code(code: object) -> int:
    """Return the exit code that Python makes of what a program returns or exits with."""
    if code is None:
        return 0
    return code if isinstance(code, int) else 1


def _texts(variables: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in variables.items()}
