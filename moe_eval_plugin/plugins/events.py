"""Events of a run that plugins receive; each is one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.record import RunRecord


@dataclass(frozen=True)
class RunStart:
    """The start of a run: the model is loaded and its k verified, and no question is asked yet.

    Example::

        for task, verified in event.experts.items():
            print(task, event.n_requests[task], "requests at k", verified.observed)
    """

    provenance: Mapping[str, Any]
    """Checkpoint, settings, versions and hardware of the run, as in its results file."""
    n_requests: Mapping[str, int]
    """Requests that this process answers, by task."""
    experts: Mapping[str, VerifiedOverride]
    """The k that this process verified, by task."""
    rank: int
    """Number of this process, from 0."""


@dataclass(frozen=True)
class BatchEnd:
    """A batch that has been answered. The counts cover all tasks of this process.

    Example::

        print(f"{event.n_done} of {event.n_requests}, {event.timing.wall_s:.2f} s")
    """

    timing: BatchTiming
    """The size and the times of the batch."""
    n_done: int
    """Requests answered so far."""
    n_requests: int
    """Requests of the run."""
    rank: int
    """Number of this process, from 0."""


@dataclass(frozen=True)
class RunEnd:
    """The end of a run: all processes have answered all questions, which are not yet scored.

    Example::

        for task, record in event.records.items():
            print(task, record.experts.observed, record.speed.samples_per_s)
    """

    records: Mapping[str, RunRecord]
    """The record of each task, with its requested and observed k, speed and hardware use."""
    rank: int
    """Number of this process, from 0."""
