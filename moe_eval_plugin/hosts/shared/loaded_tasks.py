"""The protocol of a host whose tasks are loaded, and whose command runs in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from moe_eval_plugin.hosts.shared.task_splits import TaskSplits


class LoadedTasks(Protocol):
    """A host with loaded tasks, whose own command runs in this process again and again."""

    def n_questions(self, limit: int | None) -> dict[str, int]:
        """Count the questions of each task, ``limit`` at most."""

    def settings(self) -> dict[str, Any]:
        """Return what the numbers of each task depend on: its definition, and its data."""

    def documents(self) -> dict[str, Any]:
        """Return the documents of each task, with their media."""

    def output_types(self) -> dict[str, str]:
        """Return what each task asks for: ``generate_until``, ``multiple_choice`` and so on."""

    def splits(self) -> dict[str, TaskSplits]:
        """Return the splits of each task's data."""

    def asking(self, splits: Mapping[str, str]) -> AbstractContextManager[None]:
        """Ask the questions of these splits, by task, while the block runs."""

    def requests(self, model: Any, task_name: str, positions: Iterable[int]) -> list[Any]:  # noqa: ANN401
        """Build the requests of some questions of a task for a loaded model, as the host does."""

    def resident(self, make_model: Callable[..., Any]) -> AbstractContextManager[None]:
        """Replace the tasks and the model of the host's command while the block runs.

        ``make_model`` gets the arguments of the model and the options of the host that are the
        model's, as the host passes them.
        """

    def evaluate(self, arguments: Sequence[str], folder: Path) -> Path:
        """Run the host's command in this process; return the results file that it wrote.

        An error of the model is raised as it is.
        """
