"""List the scores of runs with all that is known of each, from k to package versions.

The k of a model of another adapter is ``None``: not known, and not 0.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.schedules.routing_rule import NATIVE
from moe_eval_plugin.model_name import DEMO, hub_id
from moe_eval_plugin.results.rows import PROPORTION, is_fact, unit_of
from moe_eval_plugin.results.timing.speed_facts import (
    find_timed_task,
    n_measured,
    rows_with_timed,
    speed_facts,
)
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence
    from datetime import datetime

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.results.run import Run, ScoreRow, TaskData, TaskRun
    from moe_eval_plugin.results.setup import Setup

# Hardware, energy and failures of plugins are no settings of the model.
NOT_SETTINGS = frozenset(
    {
        *("pretrained", "revision", "versions", "hardware", "energy", "plugin_failures"),
        *("experts_k", "experts_policy", "renorm", "tuning"),
    }
)


@dataclass(frozen=True)
class ScoreFacts:
    """One score of one task of one run, and all that is known of it; ``None`` is not known."""

    run: str
    """Path of the results file."""
    task: str
    """Name of the task."""
    metric: str
    """Name of the score."""
    value: float
    """The score."""
    stderr: float | None
    """Its standard error."""
    unit: str | None
    """``proportion`` for a score from 0 to 1; else the unit in the name of the metric."""
    higher_is_better: bool | None
    """Whether a higher value is better."""
    is_main: bool
    """Whether the task is compared by this score."""
    n: int | None
    """Questions that the score is the mean of, or that a measured value was measured with."""
    n_questions: int | None
    """Questions of the split, those included that were left out."""
    scoring: str | None
    """How answers are compared."""
    answer_set: str | None
    """Set of expected answers, where a dataset has several."""
    experts_k: str | None
    """Requested schedule of k as text; ``None`` for a model as published."""
    num_experts_per_tok: int | None
    """Requested k; ``None`` for a model as published, and for a schedule of several k."""
    observed_num_experts_per_tok: float | None
    """Observed k."""
    baseline_num_experts_per_tok: int | None
    """Published k."""
    experts_policy: str | None
    """Policy that drops experts; ``None`` for a model of another adapter."""
    renorm: str | None
    """How the weights of the experts kept are scaled."""
    pretrained: str
    """Checkpoint as the user named it."""
    model_revision: str | None
    """Commit of the checkpoint on the Hub."""
    backend: str
    """The host's name of the model adapter."""
    versions: Mapping[str, str]
    """Version of each package."""
    settings: Mapping[str, Any]
    """Other settings of the model, by name."""
    dataset: str | None
    """Repository of the dataset on the Hub."""
    dataset_config: str | None
    """Configuration of the dataset."""
    split: str | None
    """Split of the dataset."""
    data_origin: str | None
    """Where the data were read."""
    data_revision: str | None
    """Commit of the dataset on the Hub."""
    data_sha256: Mapping[str, str]
    """SHA-256 of each file, by its name."""
    samples_per_s: float | None
    """Requests: questions per second, of the timed pass if the run is a point of a sweep with one;
    ``None`` where the questions of a run shared their images."""
    wall_s: float | None
    """Seconds of the slowest process."""
    n_answers_from_cache: int | None
    """Questions answered by a cache of the host: their k was not observed, and no time measured."""
    n_input_tokens: int | None
    """Tokens of all prompts."""
    n_output_tokens: int | None
    """Tokens of all answers."""
    date: datetime | None
    """When the run began."""
    task_samples_per_s: float | None = None
    """Task throughput: questions per second of a run whose questions shared their images."""
    speed_from: str | None = None
    """What the questions per second are of: the timed pass, or the run."""
    timed_batch_size: int | None = None
    """Batch size of the timed pass."""
    speed_up: float | None = None
    """Speed of requests divided by that of the published k, from the timed pass."""
    speed_up_low: float | None = None
    """Lower end of its 95% interval."""
    speed_up_high: float | None = None
    """Upper end of its 95% interval."""
    host: str = "lmms-eval"
    """Name of the host that asked the questions."""
    host_version: str | None = None
    """Version of the host."""

    @property
    def k(self) -> float | None:
        """Requested k, or else the observed one; the published one where nothing else was asked."""
        known = (self.num_experts_per_tok, self.observed_num_experts_per_tok)
        # Of a model as published whose answers all came from a cache, no k was observed.
        published = self.baseline_num_experts_per_tok if self.experts_k is None else None
        return next((k for k in known if k is not None), published)

    @property
    def is_ours(self) -> bool:
        """Whether the model was run by an adapter of this package, which sets and observes k."""
        return self.experts_policy is not None

    @property
    def model(self) -> str:
        """The model, without the folders of a path."""
        return self.pretrained if self.hub_model else PurePath(self.pretrained).name or "unknown"

    @property
    def hub_model(self) -> str | None:
        """Repository of the model on the Hub; ``None`` for the embedded model and for folders."""
        return hub_id(self.pretrained)

    @property
    def model_id(self) -> str:
        """Name of the model as ``owner/name``, also where it has no repository."""
        local = "local" if self.is_ours or "/" in self.pretrained else "unknown"
        owner = "moe-eval-plugin" if self.is_ours and self.pretrained == DEMO else local
        return self.hub_model or f"{owner}/{self.model}"

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and largest value that the score can have; ``None`` where not known."""
        if self.unit is None:
            return None
        return (0.0, 1.0 if self.unit == PROPORTION else math.inf)

    @property
    def is_partial(self) -> bool:
        """Whether the score is that of a part of the split."""
        return None not in (self.n, self.n_questions) and self.n != self.n_questions

    @property
    def setting(self) -> str:
        """Requested k, policy and renormalisation as text; empty for another adapter's model."""
        if not self.is_ours:
            return ""
        asked = (self.experts_policy, self.renorm)
        native = (NATIVE.policy_text, NATIVE.renorm)
        changes = [text for text, usual in zip(asked, native, strict=True) if text != usual]
        k = f"k={self.experts_k}" if self.experts_k else "as published"
        return ", ".join(map(str, [k, *changes]))

    def known(self) -> dict[str, Any]:
        """Return what is known and may be published: plain values, no folders of this machine."""
        values = {"model": self.model, **asdict(self)}
        values["date"] = self.date.isoformat() if self.date else None
        for name in ("run", "pretrained", "is_main"):
            del values[name]
        return {name: value for name, value in values.items() if value not in (None, {})}


def collect(runs: Sequence[Run], task: str | None = None) -> list[ScoreFacts]:
    """List the facts of each score of a task, or of all, by task and from large k to small.

    The scores of one task of one run follow each other. A run that is given twice counts once.
    Raises ``DataError`` if no run has that task, or if there is no score at all.
    """
    distinct = {run.path.resolve(): run for run in runs}.values()
    chosen = [(run, one) for run in distinct for one in run.tasks if task in (None, one.task)]
    found = [facts for run, one in chosen for facts in _of_task(run, one)]
    if not found:
        names = sorted({one.task for run in runs for one in run.tasks})
        what = "have no score."
        if task is not None and task not in names:
            what = f"have no task {task!r}.{did_you_mean(task, names)}"
        known = ", ".join(names) or "none"
        message = f"The runs {what} Their tasks: {known}. Pass other runs, or one of these tasks."
        raise DataError(message)
    return sorted(found, key=lambda facts: (facts.task, -(facts.k or 0), facts.pretrained))


def _of_task(run: Run, task: TaskRun) -> Iterator[ScoreFacts]:
    record, timed = task.record, find_timed_task(run, task)
    shared = {
        **_experts(record.experts if record else None),
        **_model(run, task.setup),
        **_data(task.data),
        **speed_facts(record, timed),
    }
    scores = [row for row in rows_with_timed(task, timed) if not is_fact(row.metric)]
    main = _main_metric(task, scores, [one.name for one in record.extra] if record else [])
    for score in scores:
        yield ScoreFacts(
            run=str(run.path),
            task=task.task,
            is_main=score.metric == main,
            **_score(task, score, n_measured(task, timed, score.metric)),
            **shared,
        )


def _main_metric(task: TaskRun, scores: Sequence[ScoreRow], extra: Container[str]) -> str | None:
    """Return the score that the task says to compare by, or the only one; not a plugin's row."""
    names = [score.metric for score in scores if score.metric not in extra]
    metrics = [name for name in names if unit_of(name) is None]
    if task.main_metric in metrics:
        return task.main_metric
    return metrics[0] if len(metrics) == 1 else None


def _score(task: TaskRun, score: ScoreRow, n: int | None) -> dict[str, Any]:
    modes = task.scoring
    # The row of a part of the questions is named after the whole and the part.
    whole = max((m for m in modes if f"{score.metric}_".startswith(f"{m}_")), default="")
    part = score.metric.removeprefix(f"{whole}_")
    of_parts = {name.replace("/", "_"): n for name, n in task.n_by_answer_type.items()}
    return {
        "metric": score.metric,
        "value": score.value,
        "stderr": score.stderr,
        "unit": PROPORTION if whole else unit_of(score.metric),
        "higher_is_better": score.higher_is_better,
        "n": n if part == score.metric else of_parts.get(part),
        "scoring": modes.get(whole),
    }


def _experts(experts: VerifiedOverride | None) -> dict[str, Any]:
    names = {
        "num_experts_per_tok": "requested",
        "observed_num_experts_per_tok": "observed",
        "baseline_num_experts_per_tok": "baseline",
        **{name: name for name in ("experts_k", "experts_policy", "renorm")},
    }
    return {name: getattr(experts, field, None) for name, field in names.items()}


def _model(run: Run, setup: Setup) -> dict[str, Any]:
    settings = {name: value for name, value in setup.values.items() if name not in NOT_SETTINGS}
    return {
        "pretrained": setup.pretrained or run.checkpoint,
        "model_revision": setup.revision,
        "backend": run.backend,
        "host": run.host,
        "host_version": run.host_version or setup.versions.get(run.host),
        "versions": {name: version for name, version in setup.versions.items() if version},
        "settings": {name: value for name, value in settings.items() if value not in (None, [])},
        "date": run.date,
    }


def _data(data: TaskData) -> dict[str, Any]:
    return {
        "dataset": hub_id(data.dataset or ""),
        "dataset_config": data.dataset_config,
        "split": data.split,
        "answer_set": data.answer_set,
        "data_origin": data.origin,
        "data_revision": data.revision,
        "data_sha256": data.sha256,
        "n_questions": data.n_questions,
    }
