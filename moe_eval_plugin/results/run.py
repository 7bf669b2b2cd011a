"""A finished run of any host: its tasks, scores and records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNKNOWN = "unknown"


@dataclass(frozen=True)
class ScoreRow:
    """A row of the host's table: a value, and its standard error where there is one."""

    metric: str
    value: float
    stderr: float | None
    higher_is_better: bool | None


@dataclass(frozen=True)
class TaskRun:
    """One task of one run.

    ``n_samples`` counts the questions that were asked. ``record`` is what was measured
    (``result.RunRecord.to_dict``), and ``None`` where nothing was; its ``experts`` are ``None`` for
    a model that is not ours. ``metadata`` is the task's: its version, its scoring modes, where its
    data came from. ``samples`` is the file with a line for each question, ``None`` where there is
    none.
    """

    task: str
    scores: tuple[ScoreRow, ...]
    n_samples: int | None
    metadata: Mapping[str, Any]
    record: Mapping[str, Any] | None
    samples: Path | None

    def score(self, metric: str) -> ScoreRow | None:
        """Return the row of that metric, or ``None``."""
        return next((score for score in self.scores if score.metric == metric), None)


@dataclass(frozen=True)
class Run:
    """One results file: ``content`` is all of it, ``tasks`` are its tasks in the order given."""

    path: Path
    content: Mapping[str, Any]
    tasks: tuple[TaskRun, ...]

    @property
    def model(self) -> str:
        """The host's name of the model, for instance ``moe_hf``."""
        return str(self.content["config"].get("model") or self.content.get("model_source"))

    @property
    def checkpoint(self) -> str:
        """The checkpoint, as our model recorded it or else as the host shows it.

        The host knows only what its arguments name, and that may be nothing.
        """
        records = [mapping_at(task.record or {}, "provenance") for task in self.tasks]
        recorded = [record["pretrained"] for record in records if record.get("pretrained")]
        return str(next(iter(recorded), None) or self.content.get("model_name") or UNKNOWN)

    def task(self, name: str | None) -> TaskRun:
        """Return the task of that name, or the only one; ``DataError`` lists what there is."""
        found = [task for task in self.tasks if name in (None, task.task)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(task.task for task in self.tasks) or "none"
        what = "more than one task" if found else f"no task {name}" if name else "no task"
        message = f"{self.path} has {what}; its tasks: {names}. Name one of them with --task."
        raise DataError(message)


def mapping_at(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under a key; an empty one where there is none, or something else."""
    part = whole.get(key)
    return part if isinstance(part, dict) else {}
