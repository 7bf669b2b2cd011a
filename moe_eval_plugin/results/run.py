"""A finished run of any host: its tasks, scores and records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from moe_eval_plugin.results.record import RunRecord

UNKNOWN = "unknown"
MEAN = "mean"
# What identifies a question, and its image: fields of a sample, and of what is compared by them.
QUESTION_ID = "question_id"
DOC_ID = "doc_id"
IMAGE_ID = "image_id"
# Field of a sample, in runs with a cache: whether the answer came from it.
FROM_CACHE = "from_cache"


@dataclass(frozen=True)
class ScoreRow:
    """A row of the host's table: a value, and its standard error if it has one."""

    metric: str
    value: float
    stderr: float | None
    higher_is_better: bool | None


@dataclass(frozen=True)
class TaskMetric:
    """A metric that the definition of a task lists."""

    name: str
    aggregation: str | None
    """How the host joins the scores of questions, for instance ``mean``."""


@dataclass(frozen=True)
class TaskData:
    """The data that a task asked about; ``None`` is not known."""

    dataset: str | None = None
    """Repository on the Hub, or what the task reads instead."""
    dataset_config: str | None = None
    """Configuration of the dataset."""
    split: str | None = None
    """Split that the questions are from."""
    source: str | None = None
    """Name of the data within this package, for instance ``easy_vqa``."""
    origin: str | None = None
    """Where the data were read: the Hub, a package or official files."""
    revision: str | None = None
    """Commit of the dataset on the Hub."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file, by its name."""
    answer_set: str | None = None
    """Set of expected answers, where a dataset has several."""
    n_questions: int | None = None
    """Questions of the split, those included that were left out."""
    n_left_out: int | None = None
    """Questions that could not be asked."""
    left_out_because: str | None = None
    """Why they were left out."""


@dataclass(frozen=True)
class TaskRun:
    """One task of a finished run, as read from the files of its host.

    Example::

        row = task_run.score("exact_match")
        accuracy = row.value if row else None
    """

    task: str
    """Name of the task."""
    scores: tuple[ScoreRow, ...]
    """Rows of the host's table, in order."""
    n_samples: int | None
    """Number of questions that were asked."""
    record: RunRecord | None
    """What this package measured; ``None`` if it measured nothing."""
    samples: Path | None
    """File with a line for each question; ``None`` if there is none."""
    main_metric: str | None = None
    """Metric by which the task wants runs to be compared."""
    metrics: tuple[TaskMetric, ...] = ()
    """Metrics that the definition of the task lists."""
    scoring: Mapping[str, str] = field(default_factory=dict)
    """How each metric compares answers, if the task says so."""
    n_by_answer_type: Mapping[str, int] = field(default_factory=dict)
    """Questions of each answer type, if scores were split by it."""
    data: TaskData = field(default_factory=TaskData)
    """The source of the questions."""
    prompt_prefix: str = ""
    """Text that the task puts before each question."""
    prompt_suffix: str = ""
    """Text that the task puts after each question."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All settings in the definition of the task that change answers or scores, by name."""
    host: str = "lmms-eval"
    """Name of the host that wrote the samples file."""
    filters: tuple[str, ...] = ()
    """Filters that change answers before they are scored, in order; empty without filters."""

    @property
    def setup(self) -> Setup:
        """What the run was made with, according to the record of this task."""
        return self.record.setup if self.record else Setup()

    def score(self, metric: str) -> ScoreRow | None:
        """Return the row of a metric; ``None`` without one."""
        return next((score for score in self.scores if score.metric == metric), None)

    def is_lower_better(self, metric: str) -> bool:
        """Return whether the host says that a lower value of this metric is better."""
        score = self.score(metric)
        return score is not None and score.higher_is_better is False

    def is_mean(self, metric: str) -> bool:
        """Return whether the task defines this metric as the mean over its questions."""
        return any(one.name == metric and one.aggregation == MEAN for one in self.metrics)


@dataclass(frozen=True)
class Sample:
    """One line of a samples file: a question, its answer and its scores."""

    question_id: int | str | None
    """Id of the question, from the sample or from what it submits; ``None`` without one."""
    doc_id: int | str | None
    """The host's number of the question within its task."""
    answers: tuple[str, ...] | None
    """The answers; ``None`` where they are no text, log-probabilities for instance."""
    target: str
    """Expected answer."""
    prompt: str
    """Text that the model was asked."""
    image: str | None
    """Id of the image; questions about one image share it."""
    scores: Mapping[str, float]
    """Every number of the sample that may be a score, by its name."""
    answer_type: str | None
    """Answer type, where the data have one."""
    question_type: str | None
    """Question type, where the data have one."""
    n_output_tokens: int | None
    """Tokens of the answer; ``None`` where they were not counted."""
    submission: tuple[object, object]
    """Question id and answer to hand in, as they are in the file: of any type, or ``None``."""
    failure: str | None = None
    """What the host wrote in place of an answer, where the request failed."""
    question: str | None = None
    """The prompt without examples and instructions, where the host says which part that is."""

    @property
    def is_empty(self) -> bool:
        """Whether all answers are empty texts."""
        return self.answers is not None and not any(text.strip() for text in self.answers)


@dataclass(frozen=True)
class Run:
    """A finished run: one results file of a host.

    Example::

        for task_run in run.tasks:
            print(run.checkpoint, task_run.task, task_run.n_samples)
    """

    path: Path
    """Path of the file."""
    tasks: tuple[TaskRun, ...]
    """The tasks, in the order of the file."""
    backend: str
    """Name of the model adapter, for instance ``moe_hf``."""
    checkpoint: str
    """Checkpoint as this package recorded it, else as the host shows it, else ``unknown``."""
    host: str
    """Name of the host, for instance ``lmms-eval``."""
    host_version: str | None = None
    """Version of the host, as the host states it."""
    code_revision: str | None = None
    """Git revision of the folder in which the run was started."""
    date: datetime | None = None
    """When the run began."""
    date_text: str | None = None
    """The same date, as the host writes it."""
    limit: float | None = None
    """Questions of each task: a number, or a share below 1; ``None`` for all."""
    include_path: str | None = None
    """Folder with more task definitions, as given to the host."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of the host that change answers, by the host's names."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """All options of the host."""

    @property
    def setup(self) -> Setup | None:
        """What the run was made with, according to its first record; ``None`` without records."""
        return next((task.record.setup for task in self.tasks if task.record), None)

    def task(self, name: str | None) -> TaskRun:
        """Return the task of a name, or the only one; ``DataError``, with the tasks, without it."""
        found = [task for task in self.tasks if name in (None, task.task)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(task.task for task in self.tasks) or "none"
        what = "more than one task" if found else f"no task {name}" if name else "no task"
        message = f"{self.path} has {what}; its tasks: {names}. Name one of them with --task."
        raise DataError(message)
