"""Time questions of lm-eval with ``moe_vllm``, on the orders of another process."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.harness import LM_EVAL, harness
from moe_eval_plugin.hosts.lm_eval.registration import MODELS

if TYPE_CHECKING:
    from moe_eval_plugin.hosts.shared.host_run import HostRun
    from moe_eval_plugin.sweeps.timing.vllm.orders import TimingOrder


class LmEvalServer:
    """Times questions at the k of its engine; the host itself puts requests in batches."""

    def __init__(self, run: HostRun) -> None:
        host = harness(LM_EVAL)
        self._tasks = host.load_tasks(run)
        of_the_host = {"batch_size": run.batch_size, "device": run.device}
        model_class = resolve_name(MODELS[run.model])
        arguments = host.read_arguments(run.model_args)
        self._model = model_class.create_from_arg_obj(arguments, of_the_host)
        self._verified: set[str] = set()
        self.device: str = self._model.model.llm_engine.vllm_config.device_config.device_type

    def time(self, order: TimingOrder) -> dict[str, Any]:
        """Answer the questions of an order, and return their times, as plain data."""
        model = self._model
        requests = self._tasks.requests(model, order.task, order.positions)
        if order.task not in self._verified:
            model._observe(requests)  # noqa: SLF001  (ours)
            self._verified.add(order.task)
        model.batch_size = order.batch_size
        if order.n_warm_up:
            model.time_requests(requests[: order.n_warm_up])
        meter = model._meter()  # noqa: SLF001  (ours)
        meter.start()
        batches = model.time_requests(requests)
        meter.batch_end(order.task, is_last=True)
        use = meter.finish()[order.task]
        return {"batches": [one.to_dict() for one in batches], "hardware": use.to_dict()}

    def close(self) -> None:
        """Stop the engine."""
        self._model.close()
