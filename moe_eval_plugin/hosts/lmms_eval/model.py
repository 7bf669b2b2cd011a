"""The shared half of our models in lmms-eval; a subclass runs the requests on an engine."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from tqdm import tqdm

from moe_eval_plugin.engines.answer_digest import answer_settings
from moe_eval_plugin.engines.expert_request import unobserved
from moe_eval_plugin.errors import EngineFailedError
from moe_eval_plugin.experts.verification import join_ranks
from moe_eval_plugin.hosts.engine_adapter import EngineAdapter
from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.lmms_eval.answers.answer_ends import (
    count_ends,
    reasoning_tags,
    warn_of_ends,
)
from moe_eval_plugin.hosts.lmms_eval.answers.host_answers import (
    PartialAnswers,
    as_result,
    as_score,
    unbroken,
)
from moe_eval_plugin.hosts.lmms_eval.host_options import refuse_options
from moe_eval_plugin.hosts.lmms_eval.requests import RequestReader, settings_by_task, with_settings
from moe_eval_plugin.hosts.run_recorder import RunRecorder, announce_end
from moe_eval_plugin.hosts.shared.arguments import join_arguments
from moe_eval_plugin.hosts.shared.calibration_questions import warn_of_overlap
from moe_eval_plugin.hosts.unanswered import report_unanswered
from moe_eval_plugin.measure.answer_ends import REASONING_TAGS, AnswerEndCounter
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.option_values import repeated
from moe_eval_plugin.plugins.announcer import Announcer
from moe_eval_plugin.plugins.manager import plugin_manager
from moe_eval_plugin.results.measurements import make_records
from moe_eval_plugin.results.record import RunRecord
from moe_eval_plugin.results.versions import versions_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lmms_eval.api.instance import GenerationResult, Instance

    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hosts.engine_adapter import JobRunner
    from moe_eval_plugin.hosts.run_options import RunOptions
    from moe_eval_plugin.measure.answer_ends import TagPair
    from moe_eval_plugin.results.measurements import Measurements

logger = logging.getLogger(__name__)


class MoEModel(EngineAdapter, lmms):
    """A chat model for lmms-eval at a verified k; ``--model_args`` are its keyword arguments.

    ``checked`` is the model's configuration if it was read before. A subclass sets
    ``hardware_facts`` when it loads its engine.
    """

    is_simple = False
    model_name: ClassVar[str]
    hardware_facts: Mapping[str, Any]
    # lmms-eval builds the model from text after `check_arguments`; what that read waits here.
    _checked: ClassVar[ModelConfig | None] = None

    @user_errors()
    def __init__(self, checked: ModelConfig | None = None, /, **model_args: Any) -> None:  # noqa: ANN401  (what the user wrote)
        super().__init__()
        engine_options, options = self._parse(model_args)
        options = replace(options, system_prompt=self._system_prompt(options))
        self._own_options = self.options = options
        self._engine_options = engine_options
        self.moe_eval_records: dict[str, RunRecord] = {}
        self.reasoning_tags: tuple[TagPair, ...] = REASONING_TAGS
        self._experts: dict[str, VerifiedOverride] = {}
        self._requests = RequestReader(self, options)
        self._announcer = Announcer(plugin_manager())
        self._load(engine_options, self._check(engine_options, checked))

    @classmethod
    @user_errors()
    def create_from_arg_string(
        cls,
        arg_string: str | Mapping[str, Any],
        additional_config: Mapping[str, Any] | None = None,
    ) -> Self:
        """Build the model from ``--model_args`` and the host's own options.

        The host passes on what it was given as ``model_args``: text, or a mapping.
        """
        checked, cls._checked = cls._checked, None
        return cls(checked, **join_arguments(arg_string, additional_config))

    @classmethod
    @user_errors()
    def check_arguments(
        cls,
        model_args: str | Mapping[str, Any],
        of_the_host: Mapping[str, Any] | None = None,
        system_instruction: str | None = None,
    ) -> None:
        """Refuse ``--model_args`` that no model can be built from; nothing is loaded.

        All arguments are checked before the configuration is read, which may run code.
        """
        engine_options, options = cls._parse(join_arguments(model_args, of_the_host))
        prompt = cls._system_prompt(options, system_instruction)
        cls._checked = cls._check(engine_options, None).model
        if prompt or engine_options.template_arguments:
            cls._read_template(engine_options).check(prompt)

    @user_errors()
    def take_options(self, of_the_host: Mapping[str, Any]) -> dict[str, Any]:
        """Apply the options of the host's ``evaluate``; return others.

        Raises ``InvalidArgumentError`` for an option that has no effect on these models.
        """
        refuse_options(of_the_host)
        prompt = self._system_prompt(self._own_options, of_the_host.get("system_instruction"))
        self.options = replace(self.options, system_prompt=prompt)
        self._requests = RequestReader(self, self.options)
        self.chat_template.check(prompt)
        cli_args = of_the_host.get("cli_args")
        self.reasoning_tags = reasoning_tags(getattr(cli_args, "reasoning_tags", None))
        return {**of_the_host, "system_instruction": None}

    @user_errors()
    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer every request; the answers have the order of the requests."""
        jobs = self._requests.jobs(requests, self.seed)
        return self._answer(jobs, len(requests), as_result)

    @user_errors()
    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Score each continuation: the sum of its log-probabilities, and whether it is greedy."""
        return self._answer(self._requests.scoring_jobs(requests), len(requests), as_score)

    @user_errors()
    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """Answer each request round by round, as its task asks; one list of answers for each."""
        texts: dict[int, list[str]] = {}
        jobs = self._requests.jobs(requests, self.seed)
        self._prepare(())
        with self._measured(jobs) as (runner, ends):
            for job in jobs:
                ask = partial(runner.ask, job)
                rounds = self._requests.all_rounds(requests[job.index], job.build, ask)
                runner.end_rounds(job, rounds)
                count_ends(ends, [(job, one) for one in rounds])
                texts[job.index] = [answer.text for answer in rounds] or [""]
        return [texts.get(index, []) for index in range(len(requests))]

    @user_errors()
    def answer_settings(self) -> dict[str, Any]:
        """Return what all answers of this model depend on; see ``answer_settings``."""
        return answer_settings(self._engine_options, self.options, self._provenance())

    @user_errors()
    def jobs(self, kind: str, requests: list[Instance]) -> list[Job]:
        """Read requests of a kind; none of those whose later rounds ask what is not known now."""
        if kind == "loglikelihood":
            return self._requests.scoring_jobs(requests)
        return self._requests.jobs(requests, self.seed) if kind == "generate_until" else []

    def unasked_record(self, task: str) -> RunRecord:
        """Return the record of a task whose answers all came from a cache: k was not observed."""
        experts = unobserved(self.engine_request)
        return RunRecord(task, experts, TaskSpeed(0, None, None, 0.0), self._provenance())

    @property
    def seed(self) -> int:
        """The seed of sampled answers: the argument ``seed``, else torch's, which the host sets."""
        return self.options.seed_after(torch.initial_seed())

    @classmethod
    def _system_prompt(cls, options: RunOptions, of_the_host: str | None = None) -> str | None:
        """Return the system prompt of our option or of the host's, or what its file holds."""
        ours = options.system_prompt
        if ours is not None:
            ours = cls._resolve_system_prompt(ours).replace("\\n", "\n")
        if ours is not None and of_the_host is not None and ours != of_the_host:
            what, values = "The system prompt", (f"system_prompt={ours}", of_the_host)
            raise repeated(what, values)
        return ours if ours is not None else of_the_host

    def _answer(
        self, jobs: Sequence[Job], n_requests: int, as_host: Callable[[Any], Any]
    ) -> list[Any]:
        """Answer all jobs; if the engine fails, return the answers so far with its error."""
        answers: dict[int, Any] = {}
        self._prepare(jobs)
        try:
            with self._measured(jobs) as (runner, ends):
                runner.answer(jobs, answers)
                count_ends(ends, [(job, answers.get(job.index)) for job in jobs])
        except EngineFailedError as error:
            return PartialAnswers([as_host(one) for one in unbroken(answers)], error)
        return [as_host(answers.get(index)) for index in range(n_requests)]

    @contextmanager
    def _measured(self, jobs: Sequence[Job]) -> Iterator[tuple[JobRunner, AnswerEndCounter]]:
        """Verify k on these requests, measure what the block runs of them, and record it."""
        self._generation = settings_by_task(jobs)
        self._verify(jobs)
        progress = tqdm(
            total=len(jobs), desc=self.model_name, unit="request", disable=self.rank != 0
        )
        policy = self.options.unanswerable
        recorder = RunRecorder(self._announcer, self.rank, self._meter(), progress.update, policy)
        tasks = [job.task for job in jobs]
        tags = self.reasoning_tags
        ends = AnswerEndCounter(tags, self.chat_template.opened_thought(tags))

        def start() -> None:
            recorder.start(tasks, self._experts, self._provenance())

        with progress, self._runner(jobs, recorder, start) as runner:
            yield runner, ends
            measured = recorder.measurements()
        self._record(replace(measured, answers=ends.result()))

    def _verify(self, jobs: Sequence[Job]) -> None:
        """Observe k on the first prompts of each task, before anything is scored or timed."""
        # Computed by building the model without weights, so not while questions are answered.
        logger.info("routed FLOP share: %s", self.engine_request.routed_flop_share)
        for task in dict.fromkeys(job.task for job in jobs):
            experts = self._observe([job for job in jobs if job.task == task])
            self._experts[task] = experts
            logger.info("%s: %s", task, experts)
        self._experts = join_ranks(self._gather(dict(self._experts)))
        self._warn_of_overlap(jobs)

    def _warn_of_overlap(self, jobs: Sequence[Job]) -> None:
        """Warn of questions that took part in choosing the schedule or the policy."""
        tuning = self.engine_request.tuning
        if tuning is not None:
            mine = {(job.task, job.question) for job in jobs}
            ranks = self._gather(mine)
            if self.rank == 0:
                warn_of_overlap(tuning, set().union(*ranks))

    def _record(self, measured: Measurements) -> None:
        """Build the records of all processes, for plugins and the host's results."""
        ranks = self._gather(measured)
        steady = self._steady_decode() if self.rank == 0 else None
        records = make_records(ranks, self._experts, self._provenance(), steady)
        records = with_settings(records, self._generation)
        records = {task: self._complete(record) for task, record in records.items()}
        report_unanswered(ranks, records, self.rank)
        self.moe_eval_records.update(announce_end(self._announcer, records, self.rank))
        if self.rank == 0:
            warn_of_ends(records)
        n_tokens = sum(batch.n_output_tokens for batch in measured.batches)
        seconds = sum(batch.wall_s for batch in measured.batches)
        if seconds > 0:
            log_metrics(
                total_gen_tokens=n_tokens,
                total_elapsed_time=seconds,
                avg_speed=n_tokens / seconds,
                additional_metrics={"rank": self.rank},
            )

    def _provenance(self) -> dict[str, Any]:
        """Describe model, engine and settings, as plain JSON data."""
        engine = self._engine_provenance()
        return {
            **self.engine_request.to_provenance(),
            "hardware": self.hardware_facts,
            "n_ranks": self.world_size,
            "seed": self.seed,
            "unanswerable": self.options.unanswerable,
            "system_prompt": self.options.system_prompt,
            **engine,
            "versions": versions_with("lmms-eval", engine["versions"]),
        }
