"""Write a Chrome trace of a few batches of a run, by torch's profiler."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.profiler import ProfilerAction

from moe_eval_plugin.files import replacing

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger(__name__)

# The first batch compiles, allocates and fills caches: it shows nothing that later ones do.
SKIPPED_BATCHES = 1
TRACED_BATCHES = 3


class BatchTrace:
    """Traces the batches after the first; ``step`` is called at the end of each batch.

    Used as a context manager; the trace is written into ``folder`` when it is left, under a name
    with the time and the rank, so that none is overwritten. A run of one batch leaves no trace.
    """

    def __init__(self, folder: str | Path, rank: int = 0) -> None:
        self._folder = Path(folder)
        self._rank = rank
        self._n_batches = 0
        # Without acc_events, torch warns that later cycles replace the first; there are none.
        self._profiler = torch.profiler.profile(
            schedule=_action_at, on_trace_ready=self._write, acc_events=True
        )
        self.path: Path | None = None

    def __enter__(self) -> Self:
        self._profiler.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._profiler.__exit__(kind, error, traceback)
        if self.path is None and error is None:
            logger.warning("No trace was written: the run had %d batch(es).", self._n_batches)

    def step(self) -> None:
        """Note the end of a batch."""
        self._n_batches += 1
        self._profiler.step()

    def _write(self, profiler: Any) -> None:  # noqa: ANN401  (torch.profiler.profile)
        n_traced = min(self._n_batches - SKIPPED_BATCHES, TRACED_BATCHES)
        if n_traced < 1:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")
        path = self._folder / f"{now}_trace_rank{self._rank}.json"
        with replacing(path) as part:
            profiler.export_chrome_trace(str(part))
        self.path = path
        logger.info("Wrote a trace of %d batch(es) to %s", n_traced, path)


def _action_at(step: int) -> ProfilerAction:
    """Return what the profiler does in a batch, counted from 0."""
    if step < SKIPPED_BATCHES:
        # What is recorded while the profiler starts is thrown away.
        return ProfilerAction.WARMUP
    if step < SKIPPED_BATCHES + TRACED_BATCHES - 1:
        return ProfilerAction.RECORD
    if step == SKIPPED_BATCHES + TRACED_BATCHES - 1:
        return ProfilerAction.RECORD_AND_SAVE
    return ProfilerAction.NONE
