"""Time blocks with ``moe_hf``, whose k is changed between batches on the loaded model."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from moe_eval_plugin.engines.request import QuestionCounter
from moe_eval_plugin.engines.transformers.batches.preparing import first_encodable, make_queue
from moe_eval_plugin.engines.transformers.job_runner import JobRunner
from moe_eval_plugin.errors import DataError
from moe_eval_plugin.hosts.unanswered import COUNT, ERROR, raise_unless_counted
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.sweeps.timing.interleaved import DoesNotFitError
from moe_eval_plugin.sweeps.timing.sample import make_blocks

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.measure.hardware_use import HardwareUse
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.plan import SweepPoint
    from moe_eval_plugin.sweeps.workers.lmms_eval_model import ResidentMoEHF


class ResidentTimer:
    """A ``Timer`` with one loaded model.

    Nothing is shared between requests or kept from one to the next: each reads its images.
    """

    def __init__(
        self, model: ResidentMoEHF, host: LoadedTasks, points: Iterable[SweepPoint]
    ) -> None:
        self._model = model
        self._host = host
        self._points = {point.name: point for point in points}
        model.store = None
        model.engine.image_outputs = None

    @property
    def device(self) -> str:
        """The device of the weights, or all GPUs where they lie on several."""
        return self._model.measured_device()

    @contextmanager
    def blocks(self, wanted: TimedPass) -> Iterator[ResidentBlocks]:
        """Build the requests of the sample and divide them into blocks; phases are recorded.

        Raises ``OverrideNotEffectiveError`` where a setting uses another k than its own, and
        ``DataError`` where none of the questions can be put to the model.
        """
        batches = self._batches(wanted)
        if not batches:
            message = (
                f"None of the {len(wanted.sample):,} questions of {wanted.task} that were chosen "
                "for the timed pass can be put to the model. Choose others with --timing-seed, or "
                "leave the timed pass out with --speed-budget 0."
            )
            raise DataError(message)
        # The process that answered may have been another one.
        jobs = list(chain.from_iterable(batches))
        for point in self._points.values():
            self._model.verify_at(point, jobs)
        size = max(map(len, batches)) if _is_scored(batches) else wanted.batch_size
        blocks = make_blocks(batches, 1 if _is_scored(batches) else size, wanted.seed)
        records = self._model.options.profile != "off"
        with self._model.engine.phase_recorder() if records else nullcontext() as phases:
            device = str(self._model.device)
            stopwatch = Stopwatch(lambda: synchronize(device), phases)
            yield ResidentBlocks(self._model, self._points, blocks, stopwatch, size)

    def _batches(self, wanted: TimedPass) -> list[list[Job]]:
        """Return the batches of the sample; those of a scored question are its choices."""
        requests = self._host.requests(self._model, wanted.task, wanted.sample)
        jobs = self._model.jobs(requests[0].request_type, requests)
        if any(job.continuation for job in jobs):
            of_questions: dict[Hashable, list[Job]] = {}
            for job in jobs:
                of_questions.setdefault(job.question, []).append(job)
            batches = list(of_questions.values())
            return [one for one in batches if len(self._answerable(one)) == len(one)]
        queue = make_queue(self._model.engine, self._answerable(jobs), wanted.batch_size)
        batches = []
        while queue:
            batches.append(queue.pop())
        return batches

    def _answerable(self, jobs: Sequence[Job]) -> list[Job]:
        """Leave out what cannot be put to the model, where that counts as unanswered.

        Elsewhere the answering pass would have ended with it.
        """
        if self._model.options.unanswerable != COUNT:
            return list(jobs)
        return [
            job for job in jobs if first_encodable(self._model.engine, [job], 1, lambda *_: None)
        ]


class ResidentBlocks:
    """``Blocks`` of one task, with a stopwatch and at most ``batch_size`` requests at once."""

    def __init__(
        self,
        model: ResidentMoEHF,
        points: Mapping[str, SweepPoint],
        blocks: Sequence[Sequence[Sequence[Job]]],
        stopwatch: Stopwatch,
        batch_size: int,
    ) -> None:
        self._model = model
        self._points = points
        self._blocks = blocks
        self._stopwatch = stopwatch
        self._batch_size = batch_size

    def time(self, setting: str, number: int) -> tuple[tuple[BatchTiming, ...], HardwareUse | None]:
        """Set k, and time the batches of a block."""
        point, batches = self._points[setting], self._blocks[number % len(self._blocks)]
        engine, listener = self._model.engine, _Timings()
        engine.set_experts(point.experts_k, point.experts_policy, point.renorm)
        questions = QuestionCounter(job for batch in batches for job in batch)
        runner = JobRunner(engine, self._stopwatch, listener, questions, self._batch_size)
        meter = self._model.meter()
        if meter is not None:
            meter.start()
        self._stopwatch.restart()
        for batch in batches:
            runner.answer(batch, {})
            if runner.batch_size < self._batch_size:
                raise DoesNotFitError(runner.batch_size)
        if meter is None:
            return tuple(listener.batches), None
        meter.batch_end(setting, is_last=True)
        return tuple(listener.batches), meter.finish()[setting]


class _Timings:
    """The ``JobListener`` of a block: keeps the times of its batches."""

    def __init__(self) -> None:
        self.batches: list[BatchTiming] = []

    def batch_end(self, timing: BatchTiming, _: int) -> bool:
        self.batches.append(timing)
        return False

    def refuse(self, job: Job, reason: str) -> None:
        raise_unless_counted(ERROR, job, reason)

    def not_finite(self, job: Job) -> None:
        """Count it like any other answer: the answering pass judges them."""

    def request_failed(self, task: str) -> None:
        """Do nothing: such a request was refused before."""


def _is_scored(batches: Sequence[Sequence[Job]]) -> bool:
    return any(job.continuation for batch in batches for job in batch)
