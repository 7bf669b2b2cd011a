"""Run lmms-eval's own command in this process: its tasks are loaded once for many runs.

The command runs as a user would run it, so that the files it writes are the same. What it would
build again each time is kept instead: the list of tasks, the tasks with their data, and the model.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.hosts.lmms_eval.names import unknown_task
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.hosts.shared.task_settings import task_settings
from moe_eval_plugin.hosts.shared.task_splits import asking_split, splits_of
from moe_eval_plugin.results.files import find_results
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lmms_eval.api.instance import Instance

    from moe_eval_plugin.hosts.shared.host_run import HostRun
    from moe_eval_plugin.hosts.shared.task_splits import TaskSplits


class Host:
    """lmms-eval with loaded tasks: those of a run.

    Raises ``InvalidArgumentError`` for a name that lmms-eval does not have, and ``DataError`` where
    the data of a task cannot be downloaded.
    """

    def __init__(self, run: HostRun) -> None:
        self._run = run
        _quieten()
        import lmms_eval.models  # noqa: F401  (brings our tasks, before the list of tasks is made)
        from lmms_eval.models import get_model
        from lmms_eval.tasks import TaskManager, get_task_dict

        arguments = ["lmms-eval"]
        with replaced(sys, "argv", arguments):
            self._manager = TaskManager(
                "WARNING", include_path=run.include_path, model_name=run.model
            )
        names = self._manager.match_tasks(list(run.tasks))
        for missing in [name for name in run.tasks if name not in names and "*" not in name]:
            raise InvalidArgumentError(unknown_task(missing, self._manager.all_tasks))
        kind = "simple" if get_model(run.model).is_simple else "chat"
        try:
            self._task_dict = get_task_dict(names, self._manager, kind)
        except Exception as error:
            # tenacity.RetryError, after a download that failed again and again.
            attempt = getattr(error, "last_attempt", None)
            if attempt is None:
                raise
            cause = attempt.exception()
            message = (
                f"The data of {', '.join(names)} cannot be downloaded: {type(cause).__name__}: "
                f"{one_line(cause)}. Check the network, log in with `hf auth login` if the data is "
                "gated, or leave the task out."
            )
            raise DataError(message) from error

    def n_questions(self, limit: int | None) -> dict[str, int]:
        """Count the questions of each task, ``limit`` at most."""
        counts = {name: len(task.eval_docs_no_media) for name, task in self._tasks()}
        return {name: min(limit or n, n) for name, n in counts.items()}

    def settings(self) -> dict[str, Any]:
        """Return what the numbers of each task depend on: its definition, and its data."""
        found: dict[str, Any] = {}
        for name, task in self._tasks():
            n_questions = len(task.eval_docs_no_media)
            found |= task_settings(name, task, task.dump_config(), n_questions)
        return found

    def documents(self) -> dict[str, Any]:
        """Return the documents of each task, with their media."""
        return {name: task.eval_docs for name, task in self._tasks()}

    def output_types(self) -> dict[str, str]:
        """Return what each task asks for: ``generate_until``, ``multiple_choice`` and so on."""
        return {name: task.OUTPUT_TYPE for name, task in self._tasks()}

    def splits(self) -> dict[str, TaskSplits]:
        """Return the splits of each task's data."""
        return {name: splits_of(task) for name, task in self._tasks()}

    @contextmanager
    def asking(self, splits: Mapping[str, str]) -> Iterator[None]:
        """Ask the questions of these splits, by task, while the block runs."""
        with ExitStack() as stack:
            for name, task in self._tasks():
                if name in splits:
                    stack.enter_context(asking_split(task, splits[name]))
            yield

    def requests(
        self,
        model: Any,  # noqa: ANN401  (the host's)
        task_name: str,
        positions: Iterable[int],
    ) -> list[Instance]:
        """Build the requests of some questions of a task, as the host does; no image is read.

        The model gets the documents that they name. Generation arguments of the run replace those
        of the task, as in the host's command.
        """
        from lmms_eval.utils import simple_parse_args_string

        model.task_dict = {name: task.dataset for name, task in self._tasks()}
        task, run = dict(self._tasks())[task_name], self._run
        if run.gen_kwargs and task.OUTPUT_TYPE == "generate_until":
            given = simple_parse_args_string(run.gen_kwargs)
            task.set_config(key="generation_kwargs", value=given, update=True)
        config = task.config
        split = config.test_split if task.has_test_docs() else config.validation_split
        more = config.metadata if isinstance(config.metadata, dict) else {}
        num_fewshot = config.num_fewshot if run.num_fewshot is None else run.num_fewshot
        found: list[Instance] = []
        for position in positions:
            context = task.fewshot_context(task.eval_docs_no_media[position], num_fewshot or 0)
            facts = {"task": config.task, "doc_id": position, "repeats": 1, "split": split, **more}
            built = task.construct_requests(doc_id=position, ctx=context, metadata=facts)
            found += built if isinstance(built, list) else [built]
        return found

    @contextmanager
    def resident(self, make_model: Callable[..., Any]) -> Iterator[None]:
        """Replace the tasks and the model of the host's command while the block runs."""
        import lmms_eval.__main__ as command
        from lmms_eval import evaluator, models

        _quieten()

        class Resident:
            is_simple = False
            create_from_arg_string = staticmethod(make_model)

        with ExitStack() as stack:
            for target, name, value in (
                (command, "TaskManager", lambda *_, **__: self._manager),
                (evaluator, "get_task_dict", lambda *_, **__: self._task_dict),
                (models, "get_model", lambda *_, **__: Resident),
            ):
                stack.enter_context(replaced(target, name, value))
            yield

    @staticmethod
    def evaluate(arguments: Sequence[str], folder: Path) -> Path:
        """Run lmms-eval's command in this process; return the results file that it wrote.

        An error of the model is raised as it is.
        """
        import lmms_eval.__main__ as command

        with replaced(sys, "argv", ["lmms-eval", *arguments]):
            _, options = command.parse_eval_args()
            try:
                command.cli_evaluate_single(options)
            except SystemExit as ended:
                # Our models end the process of the host on an error; here that is the point's end.
                cause = ended.__context__
                raise (cause if isinstance(cause, Exception) else ended) from None
        return find_results(folder)

    def _tasks(self) -> Iterator[tuple[str, Any]]:
        yield from _flatten(self._task_dict)


def _flatten(tasks: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the tasks of all groups with their names."""
    for name, task in tasks.items():
        if isinstance(task, dict):
            yield from _flatten(task)
        else:
            yield str(name), task[1] if isinstance(task, tuple) else task


def _quieten() -> None:
    """Send the host's log to wherever standard error goes at the time, warnings only."""
    from loguru import logger

    logger.remove()
    logger.add(_write_error, level="WARNING")


def _write_error(line: str) -> None:
    sys.stderr.write(line)
