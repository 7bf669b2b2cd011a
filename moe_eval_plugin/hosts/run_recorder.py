"""Record what one process measures of a run, and announce the run to plugins.

A run belongs to one ``RunRecorder``: nothing is kept in modules. Its memory and energy are read
between batches, at most once a second, so that reading them does not show in the times.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.errors import NotFiniteError
from moe_eval_plugin.hosts.unanswered import ERROR, NOT_FINITE, raise_unless_counted
from moe_eval_plugin.plugins.events import BatchEnd, RunEnd, RunStart
from moe_eval_plugin.results.measurements import Measurements, Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.hardware_use import HardwareUse
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.plugins.announcer import Announcer
    from moe_eval_plugin.results.record import RunRecord

# Share of the requests of a task that may have such answers; one may in any task.
MOST_NOT_FINITE = 0.1


def raise_unless_few(task: str, n_bad: int, n: int, which: str = "") -> None:
    """Raise ``NotFiniteError`` where more than a few requests were answered from NaN."""
    if n_bad > max(1, n * MOST_NOT_FINITE):
        message = (
            f"{task}: {n_bad} of {n} requests were answered from logits that are NaN or "
            f"infinite{which}, so no score is given. float16 is too small for some models: pass "
            "dtype=bfloat16 or dtype=float32."
        )
        raise NotFiniteError(message)


class Meter(Protocol):
    """Measures memory and energy of a run, task by task."""

    def start(self) -> None:
        """Start measuring."""

    def batch_end(self, task: str, *, is_last: bool) -> None:
        """Note the end of a batch, and whether it was the last one of its task."""

    def finish(self) -> dict[str, HardwareUse]:
        """Return what each task took."""

    def describe(self) -> dict[str, Any] | None:
        """Describe the counter of energy as plain data."""


class RunRecorder:
    """Owns what this process measures of one run, and calls plugins as it goes on.

    Without a ``hardware`` meter, memory and energy are not measured. ``on_progress`` gets the
    number of requests that were done since its last call. ``unanswerable`` is the policy for
    questions that cannot be put to the model.
    """

    def __init__(
        self,
        announcer: Announcer,
        rank: int,
        hardware: Meter | None,
        on_progress: Callable[[int], object] = lambda _: None,
        unanswerable: str = ERROR,
    ) -> None:
        self._announcer = announcer
        self._rank = rank
        self._hardware = hardware
        self._on_progress = on_progress
        self._unanswerable = unanswerable
        self._unanswered: dict[tuple[str, Hashable], Unanswered] = {}
        self._batches: list[BatchTiming] = []
        self._n_left: Counter[str] = Counter()
        self._n_of_task: Counter[str] = Counter()
        self._n_not_finite: Counter[str] = Counter()
        self._n_requests = 0

    def start(
        self,
        tasks_of_requests: Sequence[str],
        experts: Mapping[str, VerifiedOverride],
        provenance: Mapping[str, Any],
    ) -> None:
        """Announce a run of these requests; its time begins when this returns."""
        self._n_requests = len(tasks_of_requests)
        self._n_left = Counter(tasks_of_requests)
        self._n_of_task = Counter(tasks_of_requests)
        of_tasks = {task: experts[task] for task in self._n_left if task in experts}
        self._announcer.run_start(RunStart(provenance, dict(self._n_left), of_tasks, self._rank))
        if self._hardware is not None:
            self._hardware.start()

    def batch_end(self, timing: BatchTiming, n_requests: int) -> bool:
        """Record a batch; return whether plugins were called, whose time must not count."""
        self._batches.append(timing)
        self._end(timing.task, n_requests)
        n_done = self._n_requests - self._n_left.total()
        event = BatchEnd(timing, n_done, self._n_requests, self._rank)
        return self._announcer.batch_end(event)

    def refuse(self, job: Job, reason: str) -> None:
        """Record a question that cannot be put to the model.

        Raises ``UnansweredQuestionError`` unless such questions count as unanswered.
        """
        raise_unless_counted(self._unanswerable, job, reason)
        one = Unanswered(job.task, job.question, job.read_id(), reason)
        self._unanswered.setdefault((job.task, job.question), one)

    def not_finite(self, job: Job) -> None:
        """Record a question whose answer was computed from NaN or infinity; it counts as empty.

        Raises ``NotFiniteError`` where these are more than a few of the task's requests.
        """
        one = Unanswered(job.task, job.question, job.read_id(), NOT_FINITE)
        self._unanswered.setdefault((job.task, job.question), one)
        self._n_not_finite[job.task] += 1
        n_bad, n = self._n_not_finite[job.task], self._n_of_task[job.task]
        raise_unless_few(job.task, n_bad, n, f" (last: {job.describe()})")

    def request_failed(self, task: str) -> None:
        """Record a request that could not be answered; it belongs to no batch."""
        self._end(task, 1)

    def measurements(self) -> Measurements:
        """Return everything that was measured."""
        unanswered = tuple(self._unanswered.values())
        if self._hardware is None:
            return Measurements(tuple(self._batches), unanswered=unanswered)
        return Measurements(
            tuple(self._batches),
            self._hardware.finish(),
            self._hardware.describe(),
            unanswered,
        )

    def _end(self, task: str, n_requests: int) -> None:
        self._n_left[task] -= n_requests
        self._on_progress(n_requests)
        if self._hardware is not None:
            self._hardware.batch_end(task, is_last=self._n_left[task] <= 0)


def announce_end(
    announcer: Announcer, records: Mapping[str, RunRecord], rank: int
) -> dict[str, RunRecord]:
    """Announce the end of a run; return its records with the metrics that plugins add."""
    event = RunEnd(dict(records), rank)
    announcer.run_end(event)
    metrics = announcer.extra_metrics(event)
    return {
        task: replace(
            record,
            extra=tuple(metric for metric in metrics if metric.task == task),
            provenance={**record.provenance, "plugin_failures": list(announcer.failures)},
        )
        for task, record in records.items()
    }
