"""Run lm-eval's own command with our models registered."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.evaluation.image_tasks import check_named_tasks, task_definitions
from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.hosts.lm_eval.running_command.checks import (
    check_cached_requests,
    check_command,
)
from moe_eval_plugin.hosts.lm_eval.running_command.options import command_record
from moe_eval_plugin.hosts.lm_eval.running_command.suite_seed import use_published_seed
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.hosts.shared.task_data import check_data

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

# Part of the results with the command that made them.
COMMAND = "moe_eval_command"


def run_command(arguments: Sequence[str]) -> int:
    """Run lm-eval with these arguments, all of them unchanged; return its exit code.

    Raises ``UserError`` for options that it refuses, or that our models cannot use; its other
    errors are raised as it raises them.
    """
    register()
    from lm_eval.__main__ import cli_evaluate

    running = _RunningCommand(arguments)
    with replaced(sys, "argv", ["lm-eval", *arguments]), running.watched():
        try:
            cli_evaluate()
        except SystemExit as ended:
            # argparse ends with a code, after its help too.
            if isinstance(ended.code, int | None):
                return ended.code or 0
            raise
    return 0


class _RunningCommand:
    """Follows one run of the host's command: its options are checked, and put into the results."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._record: dict[str, Any] | None = None

    def watched(self) -> ExitStack:
        """Put our functions into the way of the host's own while the command runs."""
        import lm_eval
        from lm_eval.config.evaluate_config import EvaluatorConfig

        stack = ExitStack()
        self._from_cli = EvaluatorConfig.from_cli
        self._process_tasks = EvaluatorConfig.process_tasks
        from_cli = staticmethod(self._read_options)
        stack.enter_context(replaced(EvaluatorConfig, "from_cli", from_cli))

        def process_tasks(config: Any, *args: Any, **how: Any) -> Any:  # noqa: ANN401  (the host's)
            return self._read_tasks(config, *args, **how)

        stack.enter_context(replaced(EvaluatorConfig, "process_tasks", process_tasks))
        stack.enter_context(replaced(lm_eval, "simple_evaluate", self._simple_evaluate))
        return stack

    def _read_options(self, namespace: argparse.Namespace) -> Any:  # noqa: ANN401  (the host's)
        """Return the host's options; what it refuses is an error of the user."""
        try:
            config = self._from_cli(namespace)
        except (ValueError, TypeError, FileNotFoundError) as error:
            raise _refused(error) from error
        check_command(self._arguments, namespace, config)
        self._record = command_record(config)
        return config

    def _read_tasks(self, config: Any, *args: Any, **how: Any) -> Any:  # noqa: ANN401  (the host's)
        try:
            manager = self._process_tasks(config, *args, **how)
        except ValueError as error:
            raise _refused(error) from error
        check_named_tasks(config.model, config.tasks, manager.task_index)
        check_data(task_definitions(config.tasks, manager.task_index))
        if use_published_seed(config, manager.task_index):
            check_cached_requests(config)
            if self._record is not None:
                self._record["options"]["seed"] = config.seed
        return manager

    def _simple_evaluate(self, **options: Any) -> Any:  # noqa: ANN401  (the host's)
        """Run the host's function; its results get the options of the command."""
        from lm_eval.evaluator import simple_evaluate

        results = simple_evaluate(**options)
        if results is not None and self._record is not None:
            results[COMMAND] = self._record
        return results


def _refused(error: Exception) -> InvalidArgumentError:
    message = f"lm-eval: {str(error).rstrip('.')}. See `moe-eval lm-eval run --help`."
    return InvalidArgumentError(message)
