"""Run ``moe-eval lm-eval`` in this process, without lm-eval's own thousands of tasks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from unittest.mock import patch

import lm_eval as host

from tests.cli.programs import moe_eval

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.programs import Ended

NO_TASKS = "moe_eval_plugin.hosts.lm_eval.names.folders_of_package"


def lm_eval(*arguments: object, folder: Path, reads_tasks: bool = True) -> Ended:
    """Run the command; where it must end before any task is read, reading one is an error."""
    with ExitStack() as stack:
        stack.enter_context(patch("lm_eval.tasks.manager.__file__", str(folder / "none" / "a.py")))
        stack.enter_context(patch(NO_TASKS, lambda _: []))
        # The host asks a dozen programs for the versions of what is installed.
        stack.enter_context(patch("lm_eval.evaluator.add_env_info", _add_version))
        if not reads_tasks:
            early = AssertionError("the tasks were read")
            stack.enter_context(patch("lm_eval.tasks.TaskManager.__init__", side_effect=early))
        return moe_eval("lm-eval", *arguments)


def _add_version(results: dict[str, object]) -> None:
    results["lm_eval_version"] = host.__version__
