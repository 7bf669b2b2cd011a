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
    """The model is loaded and its k verified; nothing has been scored or timed."""

    provenance: Mapping[str, Any]
    """Checkpoint, settings, versions and hardware of the run, as in its results."""
    n_requests: Mapping[str, int]
    """Number of requests to this process, by task."""
    experts: Mapping[str, VerifiedOverride]
    """Verified k of this process, by task."""
    rank: int
    """Number of this process, from 0."""


@dataclass(frozen=True)
class BatchEnd:
    """A batch has been answered; counts are of this process, over all tasks."""

    timing: BatchTiming
    """Size and times of the batch."""
    n_done: int
    """Number of requests answered so far."""
    n_requests: int
    """Number of requests of the run."""
    rank: int
    """Number of this process, from 0."""


@dataclass(frozen=True)
class RunEnd:
    """All processes have answered all requests; scores are not known yet."""

    records: Mapping[str, RunRecord]
    """Requested and observed k, speed and hardware use, by task."""
    rank: int
    """Number of this process, from 0."""
