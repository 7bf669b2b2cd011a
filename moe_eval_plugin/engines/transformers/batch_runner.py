"""Requests through an engine: batch by batch, timed, the next batch prepared beside or after."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from accelerate.utils.memory import should_reduce_batch_size

from moe_eval_plugin.engines.transformers.batch_queue import BatchQueue
from moe_eval_plugin.measure.timing import read_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.engine import Encoded, Generated, HFEngine
    from moe_eval_plugin.measure.stopwatch import Stopwatch
    from moe_eval_plugin.measure.timing import BatchTiming

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A batch whose images and tokens are ready, and the seconds that this took."""

    jobs: Sequence[Job]
    encoded: Encoded
    encode_s: float


@dataclass(frozen=True)
class Outcome:
    """The answers by the index of their jobs, and the batch size that fitted."""

    answers: dict[int, Generated]
    batch_size: int


class BatchRunner:
    """Runs jobs on an engine; ``after_batch`` is given the times of each batch.

    With ``overlaps`` a thread prepares the next batch while this one is generated. That is for
    accelerators. On a CPU it was measured to make runs slower: Python runs one thread at a time,
    and the model itself needs the cores.
    """

    def __init__(
        self,
        engine: HFEngine,
        stopwatch: Stopwatch,
        after_batch: Callable[[BatchTiming], None],
        *,
        overlaps: bool,
    ) -> None:
        self._engine = engine
        self._stopwatch = stopwatch
        self._after_batch = after_batch
        self._overlaps = overlaps

    def run(self, jobs: Sequence[Job], batch_size: int) -> Outcome:
        """Generate batch by batch, the longest questions first."""
        queue = make_queue(self._engine, jobs, batch_size)
        answers: dict[int, Generated] = {}
        batches = self._prepare_ahead if self._overlaps else self._prepare_in_turn
        with closing(batches(queue)) as prepared_batches:
            for prepared in prepared_batches:
                results = self._generate(prepared, queue)
                if results is not None:
                    indices = [job.index for job in prepared.jobs]
                    answers.update(zip(indices, results, strict=True))
                    self._after_batch(self._lap(prepared, results))
        return Outcome(answers, queue.batch_size)

    def _prepare_in_turn(self, queue: BatchQueue[Job]) -> Generator[Prepared]:
        while queue:
            yield self._prepare(queue.pop())

    def _prepare_ahead(self, queue: BatchQueue[Job]) -> Generator[Prepared]:
        """Prepare one batch ahead; one that did not fit has returned to the queue by then."""
        following: Future[Prepared] | None = None
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="preprocess") as pool:
            while queue or following:
                prepared = (following or pool.submit(self._prepare, queue.pop())).result()
                following = pool.submit(self._prepare, queue.pop()) if queue else None
                yield prepared

    def _prepare(self, jobs: Sequence[Job]) -> Prepared:
        return prepare(self._engine, jobs)

    def _generate(self, prepared: Prepared, queue: BatchQueue[Job]) -> list[Generated] | None:
        """Generate one batch; if memory runs out, return ``None`` and the batch to the queue."""
        settings = prepared.jobs[0].settings
        try:
            with self._stopwatch.calling():
                return self._engine.generate(
                    prepared.encoded, settings.arguments, settings.until, self._stopwatch.on_token
                )
        except RuntimeError as error:
            if len(prepared.jobs) == 1 or not should_reduce_batch_size(error):
                raise
        torch.cuda.empty_cache()
        queue.put_back_halved(prepared.jobs)
        logger.warning(
            "Out of memory with %d requests in a batch; going on with %d.",
            len(prepared.jobs),
            queue.batch_size,
        )
        return None

    def _lap(self, prepared: Prepared, results: Sequence[Generated]) -> BatchTiming:
        self._stopwatch.add_encoding(prepared.encode_s)
        return self._stopwatch.lap(
            prepared.jobs[0].task,
            n_samples=len(results),
            n_input_tokens=sum(result.n_input_tokens for result in results),
            output_tokens=[result.n_output_tokens for result in results],
        )


def make_queue(engine: HFEngine, jobs: Sequence[Job], batch_size: int) -> BatchQueue[Job]:
    """Put jobs in the order in which they run: batches of equal length need no padding."""
    counts = engine.count_tokens([job.context for job in jobs])
    lengths = dict(zip(jobs, counts, strict=True))
    return BatchQueue(jobs, batch_size, group=_group, length=lengths.__getitem__)


def prepare(engine: HFEngine, jobs: Sequence[Job]) -> Prepared:
    """Read and encode the inputs of one batch; safe to run in a thread."""
    begin = read_clock()
    encoded = engine.encode([job.build() for job in jobs])
    return Prepared(jobs, encoded, read_clock() - begin)


def _group(job: Job) -> tuple[str, str]:
    """Give what is equal for jobs that may share a batch."""
    return job.task, job.settings.key
