"""Run the requests of a host on transformers: generate, score, or answer round by round."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.refusals import RefusedJobsError
from moe_eval_plugin.engines.request import JobSeeds
from moe_eval_plugin.engines.transformers.batches.batch_runner import BatchRunner
from moe_eval_plugin.engines.transformers.batches.preparing import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from moe_eval_plugin.engines.request import (
        Conversation,
        Generated,
        Job,
        JobListener,
        QuestionCounter,
    )
    from moe_eval_plugin.engines.transformers.batches.batch_runner import BatchStore
    from moe_eval_plugin.engines.transformers.batches.profiler_trace import BatchTrace
    from moe_eval_plugin.engines.transformers.batches.sharing_plan import SharingPlan
    from moe_eval_plugin.engines.transformers.encoding import Scored
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.measure.stopwatch import Stopwatch
    from moe_eval_plugin.measure.timing import BatchTiming


class JobRunner:
    """Runs jobs on an engine and reports each batch to ``listener``.

    What the listener and the trace do between batches is not timed. ``batch_size`` is the largest
    batch; it shrinks when memory runs out. Generated answers share images as ``sharing`` plans it;
    nothing else does.
    """

    def __init__(
        self,
        engine: HFEngine,
        stopwatch: Stopwatch,
        listener: JobListener,
        questions: QuestionCounter,
        batch_size: int,
        *,
        trace: BatchTrace | None = None,
        store: BatchStore | None = None,
        sharing: SharingPlan | None = None,
    ) -> None:
        self._engine = engine
        self._stopwatch = stopwatch
        self._listener = listener
        self._questions = questions
        self._trace = trace
        self._store = store
        self._sharing = sharing
        # Jobs of several rounds, one of which could not be put to the model.
        self._refused: set[int] = set()
        self.batch_size = batch_size
        self._seeds_of_rounds = JobSeeds()

    def answer(self, jobs: Sequence[Job], answers: dict[int, Any]) -> None:
        """Generate an answer for each job, into ``answers`` by index; score continuations.

        A job that cannot be put to the model has no answer.
        """
        if not any(job.continuation for job in jobs):
            self._generate(jobs, answers)
            return
        of_questions: dict[Hashable, list[Job]] = {}
        for job in jobs:
            of_questions.setdefault((job.task, job.question), []).append(job)
        for mine in of_questions.values():
            self._score(mine, answers)

    def ask(self, job: Job, build: Callable[[], Conversation]) -> list[Generated]:
        """Answer one round of a job that has several; no answer where it is refused."""
        settings, seed = job.settings, self._seeds_of_rounds.next(job.task, job.seed)
        try:
            with self._stopwatch.encoding():
                encoded = prepare(self._engine, [replace(job, build=build)]).encoded
        except RefusedJobsError as error:
            self._listener.refuse(job, str(error))
            self._refused.add(job.index)
            return []
        with self._stopwatch.calling():
            return self._engine.generate(
                encoded,
                settings.arguments,
                settings.until,
                self._stopwatch.on_token,
                **({"seed": seed} if settings.samples else {}),
            )

    def end_rounds(self, job: Job, rounds: Sequence[Generated]) -> None:
        """Report all rounds of a job as one batch, or the job as one that has no answer."""
        if job.index in self._refused:
            self._leave_out([job])
            return
        if not all(one.is_finite for one in rounds):
            self._listener.not_finite(job)
        n_input_tokens = sum(one.n_input_tokens for one in rounds)
        n_output_tokens = [sum(one.n_output_tokens for one in rounds)]
        n_samples = self._questions.complete([job])
        self._end(self._stopwatch.lap(job.task, n_samples, n_input_tokens, n_output_tokens), 1)

    def _generate(self, jobs: Sequence[Job], answers: dict[int, Any]) -> None:
        runner = BatchRunner(
            self._engine,
            self._stopwatch,
            self._listener,
            self._end,
            self._questions,
            overlaps=self._engine.input_device.type != "cpu",
            store=self._store,
            sharing=self._sharing,
        )
        outcome = runner.run(jobs, self.batch_size)
        self.batch_size = outcome.batch_size
        answers.update(outcome.answers)

    def _score(self, jobs: Sequence[Job], answers: dict[int, Any]) -> None:
        """Score all continuations of one question, as one batch; none if one is refused."""
        try:
            scored = {job.index: self._score_one(job) for job in jobs}
        except RefusedJobsError as error:
            for job, reason in error.reasons.items():
                self._listener.refuse(job, reason)
            self._leave_out(jobs)
            return
        answers.update(scored)
        for job in jobs:
            if not scored[job.index].is_finite:
                self._listener.not_finite(job)
        n_input_tokens = sum(one.n_input_tokens for one in scored.values())
        n_samples = self._questions.complete(jobs)
        self._end(self._stopwatch.lap(jobs[0].task, n_samples, n_input_tokens, ()), len(jobs))

    def _score_one(self, job: Job) -> Scored:
        continuation = job.continuation() if job.continuation else ""
        with self._stopwatch.encoding():
            encoded = prepare(self._engine, [job]).encoded
        with self._stopwatch.calling():
            return self._engine.score(encoded, continuation)

    def _leave_out(self, jobs: Sequence[Job]) -> None:
        """Report jobs without an answer; the time they took is not measured."""
        self._questions.complete(jobs)
        for job in jobs:
            self._listener.request_failed(job.task)
        self._stopwatch.restart()

    def _end(self, timing: BatchTiming, n_requests: int) -> None:
        others_worked = self._listener.batch_end(timing, n_requests)
        if self._trace is not None:
            self._trace.step()
        if others_worked or self._trace is not None:
            self._stopwatch.restart()
