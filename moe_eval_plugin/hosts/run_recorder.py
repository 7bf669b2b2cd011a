"""What one process measures while requests run, and the records that all processes make of it.

A run belongs to one ``RunRecorder``: nothing is kept in modules. Its memory and energy are read
between batches, at most once a second, so that reading them does not show in the times.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.plugins.events import BatchEnd, RunEnd, RunStart
from moe_eval_plugin.results.measurements import Measurements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hardware.meter import HardwareMeter
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.plugins.announcer import Announcer
    from moe_eval_plugin.results.record import RunRecord


class RunRecorder:
    """Owns what this process measures of one run, and tells plugins how it goes on.

    Without a ``hardware`` meter, memory and energy are not measured.
    """

    def __init__(self, announcer: Announcer, rank: int, hardware: HardwareMeter | None) -> None:
        self._announcer = announcer
        self._rank = rank
        self._hardware = hardware
        self._batches: list[BatchTiming] = []
        self._n_left: Counter[str] = Counter()
        self._n_requests = 0

    def start(
        self,
        tasks_of_requests: Sequence[str],
        experts: Mapping[str, VerifiedOverride],
        provenance: Mapping[str, Any],
    ) -> None:
        """Tell plugins that a run of these requests begins; its time begins when this returns."""
        self._n_requests = len(tasks_of_requests)
        self._n_left = Counter(tasks_of_requests)
        event = RunStart(provenance, dict(self._n_left), dict(experts), self._rank)
        self._announcer.run_start(event)
        if self._hardware is not None:
            self._hardware.start()

    def batch_end(self, timing: BatchTiming) -> bool:
        """Keep a batch; ``True`` if plugins were told, whose time must not count."""
        self._batches.append(timing)
        self._n_left[timing.task] -= timing.n_samples
        if self._hardware is not None:
            self._hardware.batch_end(timing.task, is_last=self._n_left[timing.task] <= 0)
        n_done = self._n_requests - self._n_left.total()
        event = BatchEnd(timing, n_done, self._n_requests, self._rank)
        return self._announcer.batch_end(event)

    def measurements(self) -> Measurements:
        """Give all that was measured."""
        if self._hardware is None:
            return Measurements(tuple(self._batches))
        return Measurements(
            tuple(self._batches),
            self._hardware.finish(),
            self._hardware.describe(),
        )


def announce_end(
    announcer: Announcer, records: Mapping[str, RunRecord], rank: int
) -> dict[str, RunRecord]:
    """Tell plugins that a run has ended, and add the rows that they have for it."""
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
