"""The shared half of our models in lm-eval; a subclass knows the engine of the host's own class."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.experts.verification import join_ranks
from moe_eval_plugin.hosts.foreign_models import gather
from moe_eval_plugin.hosts.lm_eval.asked import (
    GENERATING,
    SCORING,
    AnswerListener,
    AskedRequests,
    positions_by_task,
)
from moe_eval_plugin.hosts.lm_eval.evaluation.adapter import LMAdapter
from moe_eval_plugin.hosts.lm_eval.records import TaskRecords
from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.hosts.run_recorder import RunRecorder, announce_end
from moe_eval_plugin.hosts.shared.calibration_questions import warn_of_overlap
from moe_eval_plugin.measure.answer_ends import AnswerEndCounter
from moe_eval_plugin.plugins.announcer import Announcer
from moe_eval_plugin.plugins.manager import plugin_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from lm_eval.api.instance import Instance

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hosts.run_recorder import Meter
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.steady_decode import SteadyDecode

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskCall:
    """One call of the host's own method, with the requests of one task and one kind."""

    task: str
    """Name of the task."""
    asked: AskedRequests
    """Its requests, and which of them are answered."""
    report: Callable[[BatchTiming, int], bool]
    """Gets each batch with its number of requests; whether this took time that must not count."""
    ends: AnswerEndCounter = field(default_factory=AnswerEndCounter)
    """Counts how generated answers ended."""
    may_share: bool = False
    """Whether requests may share what their prompts have in common."""


class MeasuredLM(LMAdapter):
    """A model of the host at a verified k, timed task by task; comes before the host's own class.

    The host passes the requests of all tasks at once. Each task becomes a call of the host's own
    method, so that a batch belongs to one task. A sample is a question: a distinct ``doc_id``.
    """

    moe_eval_records: dict[str, RunRecord]

    def start_measuring(self) -> None:
        """Begin without records; a subclass calls this once its model is loaded or k is changed."""
        register()
        self.moe_eval_records = {}
        self._records = TaskRecords()
        self._announcer = Announcer(plugin_manager())
        self._running_meter: Meter | None = None

    def loglikelihood(
        self,
        requests: list[Instance],
        disable_tqdm: bool = False,  # noqa: FBT001, FBT002  (the host's)
    ) -> list[tuple[float, bool]]:
        """Score each continuation: the sum of its log-probabilities, and whether it is greedy."""
        return self._answer("loglikelihood", requests, disable_tqdm=disable_tqdm)

    def loglikelihood_rolling(
        self,
        requests: list[Instance],
        disable_tqdm: bool = False,  # noqa: FBT001, FBT002  (the host's)
    ) -> list[float]:
        """Score each text: the sum of the log-probabilities of all its tokens."""
        return self._answer("loglikelihood_rolling", requests, disable_tqdm=disable_tqdm)

    def generate_until(
        self,
        requests: list[Instance],
        disable_tqdm: bool = False,  # noqa: FBT001, FBT002  (the host's)
    ) -> list[str]:
        """Answer each request; the answers have the order of the requests."""
        return self._answer(GENERATING, requests, disable_tqdm=disable_tqdm)

    def time_requests(self, requests: Sequence[Instance]) -> tuple[BatchTiming, ...]:
        """Answer requests of one task and one kind at the present k, and return their times.

        Nothing is shared, cached, recorded or announced, and k is not verified again.
        """
        batches: list[BatchTiming] = []

        def keep(batch: BatchTiming, _n_requests: int) -> bool:
            batches.append(batch)
            return False

        task, kind = str(requests[0].task_name), requests[0].request_type
        call = TaskCall(task, AskedRequests(requests), keep)
        self._ask(kind, requests, call, AnswerListener(call.asked, None), disable_tqdm=True)
        return tuple(batches)

    def restart_meter(self) -> None:
        """Measure memory and energy from now on: what came before did not serve the task."""
        if self._running_meter is not None:
            self._running_meter.start()

    @abstractmethod
    def _observe(self, requests: Sequence[Instance]) -> VerifiedOverride:
        """Verify k on the first requests of one task and one kind."""

    @abstractmethod
    def _meter(self) -> Meter | None:
        """Build the meter of memory and energy; ``None`` if they are not measured."""

    @abstractmethod
    def _timing(self, call: TaskCall) -> AbstractContextManager[None]:
        """Time the host's calls of the engine while the block runs, and report each batch."""

    def _steady_decode(self) -> SteadyDecode | None:
        """Measure steady decode at the k of this model, where that is requested."""
        return None

    def _complete(self, record: RunRecord) -> RunRecord:
        """Add to a record what only the engine knows."""
        return record

    def _gather(self, mine: Any) -> list[Any]:  # noqa: ANN401  (whatever is to be gathered)
        """Collect a value of all processes that share the questions."""
        return gather(mine) if self.world_size > 1 else [mine]

    def _answer(self, kind: str, requests: list[Instance], *, disable_tqdm: bool) -> list[Any]:
        """Verify k for each task, answer its requests, and record what was measured."""
        positions = positions_by_task(requests, self.world_size)
        of_tasks = {task: [requests[i] for i in at] for task, at in positions.items()}
        experts = self._verify(kind, of_tasks)
        self._records.begin(kind, experts)
        found, measured = self._measure(kind, of_tasks, experts, disable_tqdm=disable_tqdm)
        self._record(kind, experts, measured)
        answers: list[Any] = [None] * len(requests)
        for task, at in positions.items():
            for position, answer in zip(at, found[task], strict=True):
                answers[position] = answer
        # Whatever only pads this process is the same object as a request that was answered.
        known = {id(requests[i]): answers[i] for at in positions.values() for i in at}
        return [
            known[id(request)] if answers[i] is None else answers[i]
            for i, request in enumerate(requests)
        ]

    def _verify(
        self, kind: str, of_tasks: Mapping[str, Sequence[Instance]]
    ) -> dict[str, VerifiedOverride]:
        """Observe k on the first prompts of each task, before anything is scored or timed."""
        if kind in SCORING:
            self.engine_request.require_decode(of_tasks)
        # Computed by building the model without weights, so not while questions are answered.
        logger.info("routed FLOP share: %s", self.engine_request.routed_flop_share)
        experts: dict[str, VerifiedOverride] = {}
        # Whoever samples answers gets those of the host's own class: no random number is used up.
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            for task, requests in of_tasks.items():
                experts[task] = self._observe(requests)
                logger.info("%s: %s", task, experts[task])
        ranks = self._gather(experts)
        _refuse_missing_tasks(ranks)
        self._warn_of_overlap(of_tasks)
        return join_ranks(ranks)

    def _warn_of_overlap(self, of_tasks: Mapping[str, Sequence[Instance]]) -> None:
        """Warn of questions that took part in choosing the schedule or the policy."""
        tuning = self.engine_request.tuning
        if tuning is not None:
            mine = {(task, one.doc_id) for task, asked in of_tasks.items() for one in asked}
            ranks = self._gather(mine)
            if self.rank == 0:
                warn_of_overlap(tuning, set().union(*ranks))

    def _measure(
        self,
        kind: str,
        of_tasks: Mapping[str, Sequence[Instance]],
        experts: Mapping[str, VerifiedOverride],
        *,
        disable_tqdm: bool,
    ) -> tuple[dict[str, list[Any]], Measurements]:
        """Return the answers of each task in the order of its requests, and what was measured."""
        self._running_meter = self._meter()
        recorder = RunRecorder(self._announcer, self.rank, self._running_meter)
        names = [task for task, requests in of_tasks.items() for _ in requests]
        recorder.start(names, experts, self._provenance())
        ends, answers = AnswerEndCounter(), {}
        for task, requests in of_tasks.items():
            asked = AskedRequests(requests, self._records.earlier(task))
            call = TaskCall(task, asked, recorder.batch_end, ends, may_share=True)
            listener = AnswerListener(asked, self.cache_hook)
            answers[task] = self._ask(kind, requests, call, listener, disable_tqdm=disable_tqdm)
            self._records.asked(kind, task, requests)
        return answers, replace(recorder.measurements(), answers=ends.result())

    def _ask(
        self,
        kind: str,
        requests: Sequence[Instance],
        call: TaskCall,
        listener: AnswerListener,
        *,
        disable_tqdm: bool,
    ) -> list[Any]:
        """Pass requests of one task to the host's own method, timed."""
        method = getattr(super(), kind)
        # Not every method of the host has this argument.
        quiet = {"disable_tqdm": True} if disable_tqdm else {}
        with replaced(self, "cache_hook", listener), self._timing(call):
            answers: list[Any] = method(list(requests), **quiet)
        return answers

    def _record(
        self, kind: str, experts: Mapping[str, VerifiedOverride], measured: Measurements
    ) -> None:
        """Build the records of all processes, for plugins and the host's results."""
        ranks = self._gather(measured)
        steady = self._steady_decode() if self.rank == 0 else None
        records = self._records.add(kind, experts, ranks, self._provenance(), steady)
        records = {task: self._complete(record) for task, record in records.items()}
        self.moe_eval_records.update(announce_end(self._announcer, records, self.rank))


def _refuse_missing_tasks(ranks: Sequence[Mapping[str, VerifiedOverride]]) -> None:
    """Raise ``UserError`` where a process has no question of a task: others would wait for it."""
    tasks = dict.fromkeys(task for rank in ranks for task in rank)
    missing = [task for task in tasks if any(task not in rank for rank in ranks)]
    if missing:
        message = (
            f"{', '.join(missing)} has fewer questions than the {len(ranks)} processes that share "
            "them. Start fewer processes, or ask more questions with --limit."
        )
        raise UserError(message)
