"""Run lm-eval's own command in this process: its tasks are loaded once for many runs.

The command runs as a user would run it, so that the files it writes are the same. What it would
build again each time is kept instead: the list of tasks, the tasks with their data, and the model.
"""

from __future__ import annotations

import logging
import random
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.hosts.exit_codes import errors_are_raised
from moe_eval_plugin.hosts.lm_eval.arguments import read_arguments
from moe_eval_plugin.hosts.lm_eval.names import unknown_task
from moe_eval_plugin.hosts.lm_eval.running_command import run as running
from moe_eval_plugin.hosts.lm_eval.running_command.suite_seed import published_seed
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.hosts.shared.task_settings import task_settings
from moe_eval_plugin.hosts.shared.task_splits import asking_split, splits_of
from moe_eval_plugin.models.checkpoint import network_errors
from moe_eval_plugin.results.files import find_results
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lm_eval.api.instance import Instance
    from lm_eval.tasks import TaskManager

    from moe_eval_plugin.hosts.shared.host_run import HostRun
    from moe_eval_plugin.hosts.shared.task_splits import TaskSplits

GENERATED = "generate_until"


class Host:
    """lm-eval with loaded tasks: those of a run.

    Raises ``InvalidArgumentError`` for a name that lm-eval does not have, and ``DataError`` where
    the data of a task cannot be loaded.
    """

    # Whether few-shot examples are those that the host's command draws.
    _draws_all = True

    def __init__(self, run: HostRun) -> None:
        from moe_eval_plugin.hosts.lm_eval.registration import register

        register()
        self._run = run
        lost: tuple[type[Exception], ...] = (OSError, *network_errors())
        with _quiet(), _seeded() as self._state:
            self._manager, names = _manager(run)
            self._seed = published_seed(names, self._manager.task_index)
            try:
                self._loaded = self._manager.load(names)
            except lost as error:
                message = (
                    f"The data of {', '.join(run.tasks)} cannot be loaded: "
                    f"{type(error).__name__}: {one_line(error)}. Check the network, log in with "
                    "`hf auth login` if the data is gated, or leave the task out."
                )
                raise DataError(message) from error

    def n_questions(self, limit: int | None) -> dict[str, int]:
        """Count the questions of each task, ``limit`` at most."""
        return {name: min(limit or len(docs), len(docs)) for name, docs in self.documents().items()}

    def settings(self) -> dict[str, Any]:
        """Return what the numbers of each task depend on: its definition, and its data.

        The metadata of a definition are left out: lm-eval adds the arguments of the model to them.
        """
        found: dict[str, Any] = {}
        for name, task in self._tasks.items():
            config = task.dump_config()
            config.pop("metadata", None)
            found |= task_settings(name, task, config, len(_documents(task)))
        return found

    def documents(self) -> dict[str, Any]:
        """Return the documents of each task, with their media."""
        return {name: _documents(task) for name, task in self._tasks.items()}

    def output_types(self) -> dict[str, str]:
        """Return what each task asks for: ``generate_until``, ``multiple_choice`` and so on."""
        return {name: task.OUTPUT_TYPE for name, task in self._tasks.items()}

    def splits(self) -> dict[str, TaskSplits]:
        """Return the splits of each task's data."""
        return {name: splits_of(task) for name, task in self._tasks.items()}

    @contextmanager
    def asking(self, splits: Mapping[str, str]) -> Iterator[None]:
        """Ask the questions of these splits, by task, while the block runs.

        Few-shot examples are drawn for the requested questions alone.
        """
        with ExitStack() as stack:
            for name, task in self._tasks.items():
                if name in splits:
                    stack.enter_context(asking_split(task, splits[name]))
            stack.enter_context(replaced(self, "_draws_all", value=False))
            yield

    def requests(
        self,
        model: Any,  # noqa: ANN401  (the host's)
        task_name: str,
        positions: Iterable[int],
    ) -> list[Instance]:
        """Build the requests of some questions of a task for a loaded model, as the host does.

        Few-shot examples are drawn for one question after the other, so that those of the
        questions before are drawn too, but inside of ``asking``.
        """
        task, run = self._tasks[task_name], self._run
        self._apply_options(task)
        documents, wanted = _documents(task), sorted(positions)
        has_draws = task.config.num_fewshot and self._draws_all
        drawn = range(wanted[-1] + 1) if has_draws else wanted
        has_template = run.apply_chat_template
        with replaced(
            task,
            "doc_iterator",
            lambda **_: ((position, documents[position]) for position in drawn),
        ):
            task.build_all_requests(
                apply_chat_template=has_template,
                fewshot_as_multiturn=has_template,
                chat_template=model.apply_chat_template if has_template else None,
                tokenizer_name=model.tokenizer_name if has_template else "",
            )
        chosen = set(wanted)
        return [one for one in task.instances if one.doc_id in chosen]

    @contextmanager
    def resident(self, make_model: Callable[..., Any]) -> Iterator[None]:
        """Replace the tasks and the model of the host's command while the block runs.

        Its options were checked before the model took its memory.
        """
        from lm_eval import tasks
        from lm_eval.api import registry

        class Resident:
            create_from_arg_obj = staticmethod(make_model)

        with ExitStack() as stack:
            for target, name, value in (
                (tasks, "TaskManager", lambda *_, **__: self._manager),
                (self._manager, "load", lambda _: self._loaded_again()),
                (registry, "get_model", lambda _: Resident),
                (running, "check_command", lambda *_: None),
            ):
                stack.enter_context(replaced(target, name, value))
            yield

    @staticmethod
    def evaluate(arguments: Sequence[str], folder: Path) -> Path:
        """Run lm-eval's command in this process; return the results file that it wrote.

        An error of the model is raised as it is.
        """
        import lm_eval.__main__ as command

        # The logger of the host would keep the standard error of the first run.
        with replaced(command, "setup_logging", lambda: None), errors_are_raised():
            code = running.run_command(["run", *arguments])
        if code != 0:
            message = f"lm-eval ended with {code}"
            raise RuntimeError(message)
        return find_results(folder)

    @property
    def _tasks(self) -> dict[str, Any]:
        tasks: dict[str, Any] = self._loaded["tasks"]
        return tasks

    def _loaded_again(self) -> Any:  # noqa: ANN401  (the host's)
        """Return the tasks, with random numbers going on as they did when these were loaded."""
        random.setstate(self._state[0])
        np.random.set_state(self._state[1])  # noqa: NPY002  (the generator that the host seeds)
        return self._loaded

    def _apply_options(self, task: Any) -> None:  # noqa: ANN401  (the host's)
        """Set the options of a run in a task, as the host does before it builds requests."""
        from lm_eval.defaults import DEFAULT_OTHER_SEED

        run, own = self._run, task.config.num_fewshot
        if run.gen_kwargs and task.OUTPUT_TYPE == GENERATED:
            given = read_arguments(run.gen_kwargs)
            task.set_config(key="generation_kwargs", value=given, update=True)
        # A task whose own number is 0 keeps it.
        if run.num_fewshot is not None and own != 0:
            task.set_config(key="num_fewshot", value=run.num_fewshot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
        seeds = (run.seed, self._seed, DEFAULT_OTHER_SEED)
        task.set_fewshot_seed(seed=next(one for one in seeds if one is not None))


def _manager(run: HostRun) -> tuple[TaskManager, list[Any]]:
    """Return the host's list of tasks, and the names or definitions of those of a run."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    config = EvaluatorConfig(tasks=list(run.tasks), include_path=run.include_path)
    try:
        manager = config.process_tasks(read_arguments(run.model_args))
    except ValueError as error:
        raise InvalidArgumentError(unknown_task(", ".join(run.tasks), ())) from error
    return manager, list(config.tasks)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the warnings of the host, one for each default in the definition of a task."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _seeded() -> Iterator[list[Any]]:
    """Seed random numbers as the host does by default, and list their states after the block.

    Definitions of tasks may draw some when their data is read.
    """
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)  # noqa: NPY002  (the generator that the host seeds)
    state: list[Any] = []
    yield state
    state += [random.getstate(), np.random.get_state()]  # noqa: NPY002  (as above)


def _documents(task: Any) -> Any:  # noqa: ANN401  (the host's)
    """Return the documents of a task; most have them at hand already processed."""
    found = getattr(task, "task_docs", None)
    return task.eval_docs if found is None else found
