"""``moe_vllm``: vLLM under lmms-eval, at a verified number of active experts."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from tqdm import tqdm

from moe_eval_plugin.engines.vllm.engine import Answer, Prompt, VLLMEngine
from moe_eval_plugin.engines.vllm.hardware import WorkersHardware
from moe_eval_plugin.engines.vllm.options import check_request
from moe_eval_plugin.engines.vllm.process import engine_alive_or_fail
from moe_eval_plugin.engines.vllm.provenance import provenance_of
from moe_eval_plugin.engines.vllm.request_times import of_rounds, request_phases, with_request_times
from moe_eval_plugin.engines.vllm.sampling import sampling_arguments
from moe_eval_plugin.errors import EngineFailedError
from moe_eval_plugin.hosts.lmms_eval.arguments import parse_arg_string
from moe_eval_plugin.hosts.lmms_eval.exit_codes import user_errors
from moe_eval_plugin.hosts.lmms_eval.partial_answers import PartialAnswers
from moe_eval_plugin.hosts.lmms_eval.requests import RequestReader
from moe_eval_plugin.hosts.run_recorder import RunRecorder, announce_end
from moe_eval_plugin.measure.timing import LapTimer
from moe_eval_plugin.model_adapters.vllm_arguments import parse_arguments
from moe_eval_plugin.plugins.announcer import Announcer
from moe_eval_plugin.plugins.manager import plugin_manager
from moe_eval_plugin.results.measurements import make_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lmms_eval.api.instance import Instance

    from moe_eval_plugin.engines.request import Conversation, Job
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.results.record import RunRecord

logger = logging.getLogger(__name__)

ERRORS_SHOWN = 3


class MoEVLLM(lmms):
    """A chat model for lmms-eval; ``--model_args`` are ours, and vLLM's engine arguments."""

    is_simple = False

    @user_errors()
    def __init__(self, **model_args: Any) -> None:  # noqa: ANN401  (the host passes what the user wrote)
        super().__init__()
        options, self.options = parse_arguments(model_args)
        self.at_once = self.options.fixed_batch()
        if self.options.system_prompt:
            prompt = self._resolve_system_prompt(self.options.system_prompt)
            self.options = replace(self.options, system_prompt=prompt.replace("\\n", "\n"))
        self.engine = VLLMEngine(options)
        self.hardware = WorkersHardware(self.engine.llm.collective_rpc)
        self._hardware_facts = self.hardware.describe()
        self.moe_eval_records: dict[str, RunRecord] = {}
        self._experts: dict[str, VerifiedOverride] = {}
        self._errors: Counter[str] = Counter()
        self._requests = RequestReader(self, self.options)
        self._announcer = Announcer(plugin_manager())

    @classmethod
    @user_errors()
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> MoEVLLM:
        """Build the model from ``--model_args``, which come before the host's own options."""
        return cls(**{**(additional_config or {}), **parse_arg_string(arg_string)})

    def clean(self) -> None:
        """Stop vLLM, and let the host free its memory."""
        self.engine.close()
        super().clean()

    @user_errors()
    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer every request; the answers stand in the order of the requests."""
        jobs = self._requests.jobs(requests)
        return self._answers(jobs, self._prompt, _as_result, len(requests))

    @user_errors()
    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """Answer each request round by round, as its task asks; one list of answers for each."""
        texts: dict[int, list[str]] = {}
        for task, mine in _by_task(self._requests.jobs(requests)):
            with self._measured(task, mine) as run:
                for job in mine:
                    ask = partial(run.ask, self._prompt(job).sampling)
                    rounds = self._requests.all_rounds(requests[job.index], ask)
                    run.keep(_of_rounds(rounds))
                    texts[job.index] = [answer.text for answer in rounds]
        return [texts.get(index, []) for index in range(len(requests))]

    @user_errors()
    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Score each continuation: the sum of its log-probabilities, and whether it is greedy."""
        jobs = [self._requests.scoring_job(i, request) for i, request in enumerate(requests)]

        def prompt(job: Job) -> Prompt:
            return Prompt(job.build, {}, self._requests.continuation(requests[job.index]))

        return self._answers(jobs, prompt, _as_score, len(requests))

    def _answers(
        self,
        jobs: Sequence[Job],
        prompt: Callable[[Job], Prompt],
        as_host: Callable[[Answer | None], Any],
        n_requests: int,
    ) -> list[Any]:
        """Run one prompt for each job; if vLLM dies, the answers so far come with the error."""
        answers: dict[int, Answer] = {}
        try:
            for task, mine in _by_task(jobs):
                with self._measured(task, mine) as run:
                    run.answer([prompt(job) for job in mine], answers)
        except EngineFailedError as error:
            return PartialAnswers(
                [as_host(answer) for answer in _unbroken(answers, n_requests)], error
            )
        return [as_host(answers.get(index)) for index in range(n_requests)]

    @contextmanager
    def _measured(self, task: str, jobs: Sequence[Job]) -> Iterator[_Run]:
        """Verify k on these requests of a task, then measure what the block runs of them."""
        experts = self.engine.verify(job.build for job in jobs)
        self._experts[task] = experts
        logger.info("%s: %s", task, experts)
        recorder = RunRecorder(self._announcer, self.rank, None)
        recorder.start([task] * len(jobs), {task: experts}, self._provenance())
        self.hardware.start()
        with (
            tqdm(total=len(jobs), desc="moe_vllm", unit="request") as progress,
            engine_alive_or_fail(),
        ):
            run = _Run(self, task, jobs, recorder, progress)
            yield run
            first, *others = self.hardware.finish(task)
        self._warn_of_errors(task, run)
        first = replace(first, batches=recorder.measurements().batches)
        self._record(task, run, [first, *others])

    def _prompt(self, job: Job) -> Prompt:
        defaults = self.engine.generation_defaults
        return Prompt(job.build, sampling_arguments(job.settings, defaults, self.options.seed))

    def _record(self, task: str, run: _Run, measured: Sequence[Measurements]) -> None:
        """Hand the record of one task to plugins and the host's table."""
        times = [answer.times for answer in run.answered if answer.error is None]
        provenance = {
            **self._provenance(),
            "n_errors": self._errors[task],
            "request_times": request_phases(times),
        }
        records = {
            name: replace(record, speed=with_request_times(record.speed, times))
            for name, record in make_records(measured, self._experts, provenance).items()
        }
        self.moe_eval_records |= announce_end(self._announcer, records, self.rank)
        for record in records.values():
            log_metrics(
                total_gen_tokens=record.speed.n_output_tokens,
                total_elapsed_time=record.speed.wall_s,
                avg_speed=record.speed.output_tokens_per_s,
                additional_metrics={"rank": self.rank},
            )

    def _warn_of_errors(self, task: str, run: _Run) -> None:
        """Count the questions that vLLM or their image refused, and tell of the first ones."""
        errors = [answer.error for answer in run.answered if answer.error is not None]
        self._errors[task] = len(errors)
        if errors:
            logger.warning(
                "%s: %d of %d questions could not be asked and count as answered with nothing: %s",
                task,
                len(errors),
                len(run.answered),
                "; ".join(dict.fromkeys(errors[:ERRORS_SHOWN])),
            )

    def _provenance(self) -> dict[str, Any]:
        """Tell how these numbers came about, as far as the model knows."""
        return {
            **provenance_of(self.engine),
            "hardware": self._hardware_facts,
            "batch_size": self.at_once or self.engine.max_num_seqs,
            "n_ranks": self.world_size,
            "seed": self.options.seed,
            "system_prompt": self.options.system_prompt,
        }


class _Run:
    """Requests of one task on their way through the engine; each is timed as a batch of its own."""

    def __init__(
        self,
        model: MoEVLLM,
        task: str,
        jobs: Sequence[Job],
        recorder: RunRecorder,
        progress: Any,  # noqa: ANN401
    ) -> None:
        self._model = model
        self._task = task
        self._jobs = jobs
        self._recorder = recorder
        self._progress = progress
        # vLLM gives answers that its device has computed: there is nothing to wait for.
        self._laps = LapTimer(lambda: None)
        self.answered: list[Answer] = []

    def answer(self, prompts: Sequence[Prompt], answers: dict[int, Answer]) -> None:
        """Answer a prompt for each job, into ``answers`` by the index of the job."""
        for place, answer in self._model.engine.run(prompts, self._model.at_once):
            answers[self._jobs[place].index] = answer
            self.keep(answer)

    def ask(self, sampling: Mapping[str, Any], conversation: Conversation) -> list[Answer]:
        """Answer one prompt of several that follow each other."""
        prompt = Prompt.of(conversation, sampling)
        return [answer for _, answer in self._model.engine.run([prompt], self._model.at_once)]

    def keep(self, answer: Answer) -> None:
        """Count what became of one job; the time of one that failed counts for the next."""
        self.answered.append(answer)
        self._progress.update()
        if answer.error is None:
            self._recorder.batch_end(answer.times.as_batch(self._task, self._laps.lap()))
        self._model.hardware.request_end(self._task)


@user_errors()
def check_arguments(arg_string: str) -> None:
    """Refuse ``--model_args`` that no engine could be started from; nothing is loaded."""
    options, run_options = parse_arguments(parse_arg_string(arg_string))
    run_options.fixed_batch()
    check_request(options)


def _by_task(jobs: Sequence[Job]) -> Iterator[tuple[str, list[Job]]]:
    """Give the jobs of each task: one after the other, so that each task has its own time."""
    for task in dict.fromkeys(job.task for job in jobs):
        yield task, [job for job in jobs if job.task == task]


def _unbroken(answers: Mapping[int, Answer], n_requests: int) -> list[Answer]:
    """Give the answers in order, up to the first that is missing."""
    whole = []
    for index in range(n_requests):
        if index not in answers:
            break
        whole.append(answers[index])
    return whole


def _as_result(answer: Answer | None) -> GenerationResult:
    if answer is None or answer.error is not None:
        return GenerationResult(text="")
    times = answer.times
    counts = TokenCounts(input_tokens=times.n_input_tokens, output_tokens=times.n_output_tokens)
    return GenerationResult(text=answer.text, token_counts=counts)


def _of_rounds(rounds: Sequence[Answer]) -> Answer:
    """Take the answers of one job together, for the record."""
    errors = [answer.error for answer in rounds if answer.error is not None]
    times = of_rounds([answer.times for answer in rounds])
    return Answer(rounds[-1].text, times, "; ".join(errors) or None)


def _as_score(answer: Answer | None) -> tuple[float, bool]:
    """Give the score of a continuation; one that could not be asked is impossible."""
    if answer is None or answer.log_probability is None or answer.is_greedy is None:
        return float("-inf"), False
    return answer.log_probability, answer.is_greedy
