"""The splits of a task's data, and questions of another split than the task evaluates."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.replacement import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class TaskSplits:
    """The splits of one task's data."""

    evaluated: str
    """The split whose questions the task asks."""
    training: str | None
    """The split that its definition names for training; ``None`` where its data have none."""
    names: tuple[str, ...]
    """All splits."""


def splits_of(task: Any) -> TaskSplits:  # noqa: ANN401  (a task of any host)
    """Return the splits of a loaded task.

    A task that reads its training data on demand names their split in ``training_split``, and has
    ``load_training_split``.
    """
    config = task.config
    evaluated = config.test_split if task.has_test_docs() else config.validation_split
    on_demand = getattr(task, "training_split", None)
    training = on_demand or config.training_split
    names = tuple(dict.fromkeys([*task.dataset, *([on_demand] if on_demand else [])]))
    is_usable = training in names and training != evaluated
    return TaskSplits(evaluated, training if is_usable else None, names)


@contextmanager
def asking_split(task: Any, split: str) -> Iterator[None]:  # noqa: ANN401  (as above)
    """Make a loaded task ask the questions of a split of its data while the block runs.

    The host builds their prompts with its own code, as it does for the split that it evaluates.
    """
    config = task.config
    if split == splits_of(task).evaluated:
        yield
        return
    if split not in task.dataset:
        task.load_training_split()
    with ExitStack() as stack:
        stack.enter_context(replaced(config, "test_split", split))
        if hasattr(task, "dataset_no_image"):
            _process(task, split, stack)
        # What the task keeps of the split that it evaluates, processed.
        if hasattr(task, "task_docs"):
            stack.enter_context(replaced(task, "task_docs", task.test_docs()))
        yield


def _process(task: Any, split: str, stack: ExitStack) -> None:  # noqa: ANN401  (of lmms-eval)
    """Process the documents of a split that lmms-eval left as they are, until the block ends.

    It processes the splits that the definition names, once, when it loads them.
    """
    config = task.config
    named = (config.training_split, config.validation_split, config.fewshot_split)
    is_own = split == getattr(task, "training_split", None)
    if config.process_docs is None or split in named or is_own:
        return
    processed = config.process_docs(task.dataset[split])
    for name in ("dataset", "dataset_no_image"):
        splits = type(task.dataset)({**getattr(task, name), split: processed})
        stack.enter_context(replaced(task, name, splits))
