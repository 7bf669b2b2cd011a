"""Generate answers batch by batch, timed; inputs are prepared in advance or in turn."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate.utils.memory import should_reduce_batch_size

from moe_eval_plugin.engines.refusals import RefusedJobsError
from moe_eval_plugin.engines.request import joined_seed
from moe_eval_plugin.engines.transformers.batches.preparing import make_queue, part_jobs, prepare
from moe_eval_plugin.engines.transformers.batches.shared_inputs import CannotShareError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from moe_eval_plugin.engines.request import (
        Generated,
        Job,
        JobListener,
        QuestionCounter,
    )
    from moe_eval_plugin.engines.transformers.batches.batch_queue import BatchQueue
    from moe_eval_plugin.engines.transformers.batches.preparing import Prepared
    from moe_eval_plugin.engines.transformers.batches.sharing_plan import SharingPlan
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.measure.stopwatch import Stopwatch
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.measurements import Measurements

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The answers by the index of their jobs, and the batch size that fitted."""

    answers: dict[int, Generated]
    batch_size: int


class StoredBatch(Protocol):
    """A batch that was answered in an earlier run."""

    @property
    def answers(self) -> Sequence[Generated]:
        """One answer for each request of the batch."""

    @property
    def timing(self) -> BatchTiming:
        """Its times, as they were measured."""


class BatchStore(Protocol):
    """Inputs and answers that outlive one run: a journal and a cache of encoded inputs."""

    def start_run(self) -> None:
        """Begin a run of requests of any kind; batches of an earlier one are not counted again."""

    def encode_ahead(
        self,
        engine: HFEngine,
        jobs: Sequence[Job],
        batch_size: int,
        refuse: Callable[[Job, str], object],
        sharing: SharingPlan | None = None,
    ) -> None:
        """Encode the inputs of all jobs, as far as memory takes them, before time is measured.

        ``refuse`` gets each job that cannot be put to the model, and why.
        """

    def prepare(self, jobs: Sequence[Job], encode: Callable[[Sequence[Job]], Prepared]) -> Prepared:
        """Return the inputs of a batch, encoded now or before."""

    def find(self, jobs: Sequence[Job]) -> StoredBatch | None:
        """Return the batch of exactly these jobs, if it was answered before."""

    def was_halved(self, jobs: Sequence[Job]) -> bool:
        """Whether a batch of these jobs did not fit into the memory before."""

    def add(self, jobs: Sequence[Job], answers: Sequence[Generated], timing: BatchTiming) -> None:
        """Store a batch that was answered now."""

    def complete(self, measured: Measurements) -> Measurements:
        """Remove from the measurements of a run what does not hold for stored batches."""

    def provenance(self) -> dict[str, Any]:
        """Describe how the batches of this run came about, as plain JSON data."""


class BatchRunner:
    """Generates answers batch by batch; ``after_batch`` gets each timing and request count.

    ``questions`` counts the questions of all jobs, and ``listener`` hears of those that cannot be
    put to the model: they are left out of their batch, and the time they took is not measured.

    With ``overlaps`` a thread prepares the next batch while this one is generated. That is for
    accelerators. On a CPU it was measured to make runs slower: Python runs one thread at a time,
    and the model itself needs the cores. With a ``store``, batches that it holds are not run, and
    encoding is not part of the wall time. Images are shared as ``sharing`` plans it.
    """

    def __init__(
        self,
        engine: HFEngine,
        stopwatch: Stopwatch,
        listener: JobListener,
        after_batch: Callable[[BatchTiming, int], None],
        questions: QuestionCounter,
        *,
        overlaps: bool,
        store: BatchStore | None = None,
        sharing: SharingPlan | None = None,
    ) -> None:
        self._engine = engine
        self._stopwatch = stopwatch
        self._listener = listener
        self._after_batch = after_batch
        self._questions = questions
        self._overlaps = overlaps and store is None
        self._store = store
        self._sharing = sharing

    def run(self, jobs: Sequence[Job], batch_size: int) -> Outcome:
        """Generate batch by batch, the longest questions first."""
        queue = make_queue(self._engine, jobs, batch_size, self._sharing)
        self._answers: dict[int, Generated] = {}
        batches = self._prepare_ahead if self._overlaps else self._prepare_in_turn
        with closing(batches(queue)) as prepared_batches:
            for prepared in prepared_batches:
                results = self._generate(prepared, queue)
                if results is not None:
                    self._finish(prepared, results)
        return Outcome(self._answers, queue.batch_size)

    def _prepare_in_turn(self, queue: BatchQueue[Job]) -> Generator[Prepared]:
        while queue:
            jobs = queue.pop()
            stored = self._store.find(jobs) if self._store else None
            if stored is not None:
                self._questions.complete(jobs)
                self._keep(jobs, stored.answers, stored.timing)
                continue
            prepared = self._or_refuse(jobs, queue, partial(self._prepare, jobs))
            if prepared is None:
                continue
            # A batch without those that were refused is not a halved one.
            if self._store and len(jobs) > 1 and self._store.was_halved(jobs):
                queue.put_back_halved(jobs, min(queue.batch_size, len(jobs)))
            else:
                yield prepared

    def _prepare_ahead(self, queue: BatchQueue[Job]) -> Generator[Prepared]:
        """Prepare one batch ahead; one that did not fit has returned to the queue by then."""
        following: tuple[list[Job], Future[Prepared]] | None = None
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="preprocess") as pool:

            def start() -> tuple[list[Job], Future[Prepared]]:
                jobs = queue.pop()
                return jobs, pool.submit(self._prepare, jobs)

            while queue or following:
                jobs, future = following or start()
                prepared = self._or_refuse(jobs, queue, future.result)
                following = start() if queue else None
                if prepared is not None:
                    yield prepared

    def _or_refuse(
        self, jobs: Sequence[Job], queue: BatchQueue[Job], get: Callable[[], Prepared]
    ) -> Prepared | None:
        """Return a prepared batch; without jobs that are refused, it returns to the queue."""
        try:
            return get()
        except RefusedJobsError as error:
            for job, reason in error.reasons.items():
                self._listener.refuse(job, reason)
                self._listener.request_failed(job.task)
            self._questions.complete(error.reasons)
            queue.put_back(error.others(jobs))
        except CannotShareError as error:
            part_jobs(jobs, queue, self._sharing, error)
        self._stopwatch.restart()
        return None

    def _prepare(self, jobs: Sequence[Job]) -> Prepared:
        if self._store is None:
            return prepare(self._engine, jobs, self._sharing)
        prepared = self._store.prepare(
            jobs, lambda jobs: prepare(self._engine, jobs, self._sharing)
        )
        self._stopwatch.restart()
        return prepared

    def _generate(self, prepared: Prepared, queue: BatchQueue[Job]) -> list[Generated] | None:
        """Generate one batch; if memory runs out, return ``None`` and the batch to the queue."""
        n_jobs = len(prepared.jobs)
        shares = prepared.encoded.layout is not None
        size = min(queue.batch_size, n_jobs) if shares else n_jobs
        try:
            return self._call(prepared, size)
        except RuntimeError as error:
            if n_jobs == 1 or not should_reduce_batch_size(error):
                raise
        torch.cuda.empty_cache()
        queue.put_back_halved(prepared.jobs, size)
        logger.warning(
            "Out of memory with %d requests in a batch; going on with %d.", size, queue.batch_size
        )
        return None

    def _call(self, prepared: Prepared, batch_size: int) -> list[Generated]:
        """Call the model once; for questions that share something, as often as they need it."""
        encoded, settings = prepared.encoded, prepared.jobs[0].settings
        counts, on_token = encoded.n_input_tokens, self._stopwatch.on_token
        if encoded.layout is None:
            seed = joined_seed(job.seed for job in prepared.jobs)
            with self._stopwatch.calling():
                return self._engine.generate(
                    encoded,
                    settings.arguments,
                    settings.until,
                    on_token,
                    **({"seed": seed} if settings.samples else {}),
                )
        answers: dict[int, Generated] = {}
        with self._stopwatch.calling():
            prefixes = self._engine.compute_prefixes(encoded, encoded.layout)
        for chosen, part in encoded.layout.parts(batch_size):
            with self._stopwatch.calling():
                found = self._engine.generate_from(
                    prefixes.continued(self._engine.model, part),
                    [counts[number] for number in chosen],
                    settings.arguments,
                    settings.until,
                    on_token,
                )
            answers.update(zip(chosen, found, strict=True))
        return [answers[number] for number in range(len(counts))]

    def _finish(self, prepared: Prepared, results: Sequence[Generated]) -> None:
        self._stopwatch.add_encoding(prepared.encode_s)
        timing = self._stopwatch.lap(
            prepared.jobs[0].task,
            n_samples=self._questions.complete(prepared.jobs),
            n_input_tokens=sum(result.n_input_tokens for result in results),
            output_tokens=[result.n_output_tokens for result in results],
        )
        if prepared.encoded.layout is not None or prepared.encoded.images is not None:
            timing = replace(timing, is_shared=True)
        if self._store is not None:
            self._store.add(prepared.jobs, results, timing)
        self._keep(prepared.jobs, results, timing)

    def _keep(self, jobs: Sequence[Job], answers: Sequence[Generated], timing: BatchTiming) -> None:
        self._answers.update(zip([job.index for job in jobs], answers, strict=True))
        for job, answer in zip(jobs, answers, strict=True):
            if not answer.is_finite:
                self._listener.not_finite(job)
        self._after_batch(timing, len(jobs))
