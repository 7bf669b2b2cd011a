"""Run the requests of a host on vLLM: generate, score, or answer round by round."""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.generation import truncate_before
from moe_eval_plugin.engines.request import JobSeeds
from moe_eval_plugin.engines.vllm.messages import Answer, Prompt
from moe_eval_plugin.engines.vllm.request_times import as_batch, of_rounds
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.measure.timing import LapTimer
from moe_eval_plugin.option_values import read_float

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from moe_eval_plugin.engines.generation import CheckpointSettings, GenerationSettings
    from moe_eval_plugin.engines.request import Conversation, Job, JobListener, QuestionCounter
    from moe_eval_plugin.engines.vllm.engine import VLLMEngine
    from moe_eval_plugin.engines.vllm.request_times import RequestTimes

logger = logging.getLogger(__name__)

# vLLM refuses a temperature above this one.
HOTTEST = 2.0
# Arguments that only transformers has, and the value that means not to use them.
NOT_IN_VLLM = {"num_beams": 1, "no_repeat_ngram_size": 0}


class JobRunner:
    """Runs jobs on an engine and reports each question to ``listener``, as a batch of its own.

    Tasks run one after the other, so that each has its own wall time. vLLM goes on working while
    the listener does, so the clock is not stopped for it.
    """

    def __init__(
        self,
        engine: VLLMEngine,
        listener: JobListener,
        questions: QuestionCounter,
        at_once: int | None,
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._questions = questions
        self._at_once = at_once
        self._seeds_of_rounds = JobSeeds()
        # vLLM returns answers that its device has computed: there is nothing to wait for.
        self._laps = LapTimer(lambda: None)
        self._answered: defaultdict[str, list[Answer]] = defaultdict(list)
        # Jobs of several rounds, one of which was refused, and why.
        self._refused: dict[int, str] = {}
        # Answers of questions that have open requests.
        self._open: defaultdict[Hashable, list[tuple[Job, Answer]]] = defaultdict(list)

    def answer(self, jobs: Sequence[Job], answers: dict[int, Any]) -> None:
        """Answer each job, into ``answers`` by index.

        ``None`` for the jobs of a question of which vLLM refused one.
        """
        for task in dict.fromkeys(job.task for job in jobs):
            mine = [job for job in jobs if job.task == task]
            self._laps.restart()
            prompts = [self._prompt(job) for job in mine]
            with closing(self._engine.run(prompts, self._at_once)) as done:
                for position, found in done:
                    job = mine[position]
                    answer = _until(found, job.settings)
                    answers[job.index] = answer
                    if answer.error is not None:
                        self._listener.refuse(job, answer.error)
                    for refused in self._end(job, answer):
                        answers[refused.index] = None
            self._drop_not_finite(mine, answers)

    def ask(self, job: Job, build: Callable[[], Conversation]) -> list[Answer]:
        """Answer one round of a job that has several; no answer where it is refused."""
        seed = self._seeds_of_rounds.next(job.task, job.seed)
        prompt = Prompt(build, self._sampling(job, seed))
        [(_, found)] = self._engine.run([prompt], self._at_once)
        answer = _until(found, job.settings)
        if answer.error is None:
            found_one = {job.index: answer}
            self._drop_not_finite([job], found_one)
            return [found_one[job.index]]
        self._listener.refuse(job, answer.error)
        self._refused[job.index] = answer.error
        return []

    def _drop_not_finite(self, jobs: Sequence[Job], answers: dict[int, Any]) -> None:
        """Empty the answers that were computed from NaN or infinity, and report their jobs."""
        bad = self._engine.not_finite()
        for job in jobs:
            answer = answers.get(job.index)
            if answer is not None and answer.request in bad:
                answers[job.index] = answer = answer.without_text()
            if answer is not None and not answer.is_finite:
                self._listener.not_finite(job)

    def end_rounds(self, job: Job, rounds: Sequence[Answer]) -> None:
        """Report all rounds of a job as one request."""
        times = of_rounds([answer.times for answer in rounds])
        self._end(job, Answer("", times, self._refused.get(job.index)))

    def times(self, task: str) -> list[RequestTimes]:
        """List the times of the requests of a task that were answered."""
        return [answer.times for answer in self._answered[task] if answer.error is None]

    def errors(self, task: str) -> list[str]:
        """List what was wrong with the requests of a task that vLLM refused."""
        return [answer.error for answer in self._answered[task] if answer.error is not None]

    def _prompt(self, job: Job) -> Prompt:
        if job.continuation is not None:
            return Prompt(job.build, {}, job.continuation())
        return Prompt(job.build, self._sampling(job, job.seed))

    def _sampling(self, job: Job, seed: int) -> Mapping[str, Any]:
        return sampling_arguments(job.settings, self._engine.generation, seed)

    def _end(self, job: Job, answer: Answer) -> list[Job]:
        """Report a question with its last request; time of a refused one counts for the next.

        Returns the jobs of the question if one of them was refused.
        """
        self._answered[job.task].append(answer)
        question = job.task, job.question
        self._open[question].append((job, answer))
        if not self._questions.complete([job]):
            return []
        jobs, answers = zip(*self._open.pop(question), strict=True)
        good = [one.times for one in answers if one.error is None]
        for _ in range(len(answers) - len(good)):
            self._listener.request_failed(job.task)
        if good:
            n_samples, is_shared = int(len(good) == len(answers)), self._engine.is_shared
            timing = as_batch(good, job.task, self._laps.lap(), n_samples, is_shared=is_shared)
            self._listener.batch_end(timing, len(good))
        return [] if len(good) == len(answers) else list(jobs)


def _until(answer: Answer, settings: GenerationSettings) -> Answer:
    """Cut an answer before its first stop string; vLLM does not look at the least tokens."""
    return replace(answer, text=truncate_before(answer.text, settings.until))


def sampling_arguments(
    settings: GenerationSettings, of_checkpoint: CheckpointSettings, seed: int
) -> dict[str, Any]:
    """Return the arguments of vLLM's ``SamplingParams`` for one request.

    Raises ``InvalidArgumentError`` for what vLLM cannot do and ``moe_hf`` can.
    """
    given = {name: value for name, value in settings.arguments.items() if value is not None}
    for name, neutral in NOT_IN_VLLM.items():
        if given.get(name, neutral) != neutral:
            message = (
                f"{name}={given[name]} is not possible with moe_vllm: vLLM has nothing like it. "
                f"Use --gen_kwargs {name}={neutral}, or --model moe_hf."
            )
            raise InvalidArgumentError(message)
    of_checkpoint.warn_of_sampling(given)
    samples = given["do_sample"]
    if samples:
        read_float("temperature", given.get("temperature", 1.0), at_most=HOTTEST)
    arguments = {
        "max_tokens": given["max_new_tokens"],
        "min_tokens": given.get("min_new_tokens", 0),
        "repetition_penalty": given.get("repetition_penalty", of_checkpoint.repetition_penalty),
        "stop": list(settings.until),
        "temperature": given.get("temperature", 1.0) if samples else 0.0,
    }
    if samples:
        names = ("top_p", "top_k", "min_p")
        arguments |= {name: given[name] for name in names if name in given}
        arguments["seed"] = seed
    return arguments
