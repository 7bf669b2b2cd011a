"""Time questions of lmms-eval with ``moe_vllm``, on the orders of another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.request import QuestionCounter
from moe_eval_plugin.engines.vllm.job_runner import JobRunner
from moe_eval_plugin.hosts.harness import LMMS_EVAL, harness
from moe_eval_plugin.hosts.shared.arguments import join_arguments
from moe_eval_plugin.hosts.unanswered import raise_unless_counted
from moe_eval_plugin.model_adapters.lmms_eval_vllm import MoEVLLM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.hosts.shared.host_run import HostRun
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.sweeps.timing.vllm.orders import TimingOrder


class TimedMoEVLLM(MoEVLLM):
    """``moe_vllm`` that times jobs at the k of each order."""

    _k: str | None = None

    def time(self, order: TimingOrder, jobs: Sequence[Job]) -> dict[str, Any]:
        """Answer the jobs, and return their times with the use of hardware, as plain data.

        Raises ``OverrideNotEffectiveError`` before anything is timed at a k that is not in force.
        """
        self._set_k(order.experts_k, order.task, jobs)
        if order.n_warm_up:
            self._answer_all(jobs[: order.n_warm_up], order.batch_size)
        self.hardware.start()
        batches = self._answer_all(jobs, order.batch_size)
        self.hardware.batch_end(order.task, is_last=True)
        use = self.hardware.finish()[order.task]
        return {"batches": [one.to_dict() for one in batches], "hardware": use.to_dict()}

    def _set_k(self, experts_k: str, task: str, jobs: Sequence[Job]) -> None:
        if self._k not in {None, experts_k}:
            self.engine.set_k(experts_k)
            self._experts = {}
        self._k = experts_k
        if task not in self._experts:
            self._experts[task] = self._observe(jobs)

    def _answer_all(self, jobs: Sequence[Job], batch_size: int) -> list[BatchTiming]:
        listener = _Listener(self)
        questions = QuestionCounter(jobs)
        JobRunner(self.engine, listener, questions, batch_size).answer(jobs, {})
        return listener.batches


class _Listener:
    """The ``JobListener`` of an order: keeps the times of its questions."""

    def __init__(self, model: MoEVLLM) -> None:
        self._model = model
        self.batches: list[BatchTiming] = []

    def batch_end(self, timing: BatchTiming, _: int) -> bool:
        self.batches.append(timing)
        return False

    def refuse(self, job: Job, reason: str) -> None:
        raise_unless_counted(self._model.options.unanswerable, job, reason)

    def not_finite(self, job: Job) -> None:
        """Count it like any other answer: the answering pass judges them."""

    def request_failed(self, task: str) -> None:
        """Leave it out: the same requests are refused at each k."""


class LmmsEvalServer:
    """Times questions of lmms-eval."""

    def __init__(self, run: HostRun) -> None:
        self._tasks = harness(LMMS_EVAL).load_tasks(run)
        of_the_host = {"batch_size": run.batch_size, "device": run.device}
        self._model = TimedMoEVLLM(**join_arguments(run.model_args, of_the_host))
        self.device = self._model.engine.config.device_config.device_type

    def time(self, order: TimingOrder) -> dict[str, Any]:
        """Answer the questions of an order, and return their times, as plain data."""
        requests = self._tasks.requests(self._model, order.task, order.positions)
        return self._model.time(order, self._model.jobs(requests[0].request_type, requests))

    def close(self) -> None:
        """Stop the engine."""
        self._model.clean()
