"""Events of a run that plugins can receive; each is one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.record import RunRecord

RUN_START = "moe_eval_run_start"
BATCH_END = "moe_eval_batch_end"
RUN_END = "moe_eval_run_end"
EXTRA_METRICS = "moe_eval_extra_metrics"
HOOKS = (RUN_START, BATCH_END, RUN_END, EXTRA_METRICS)


@dataclass(frozen=True)
class RunStart:
    """The model is loaded and its k verified; nothing was scored or timed yet.

    ``n_requests`` and ``experts`` are by task, those of this process alone.
    """

    provenance: Mapping[str, Any]
    n_requests: Mapping[str, int]
    experts: Mapping[str, VerifiedOverride]
    rank: int


@dataclass(frozen=True)
class BatchEnd:
    """A batch was answered; the counts are of this process, over all tasks."""

    timing: BatchTiming
    n_done: int
    n_requests: int
    rank: int


@dataclass(frozen=True)
class RunEnd:
    """All requests were answered, on all processes; scores are not known yet.

    ``records`` are by task: what was asked for, observed and measured.
    """

    records: Mapping[str, RunRecord]
    rank: int
