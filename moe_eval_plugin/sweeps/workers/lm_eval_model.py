"""``moe_hf`` and ``moe_hf-multimodal`` in lm-eval for a sweep: loaded once, k set at each point."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.harness import harness
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.model_adapters.lm_eval_hf_multimodal import MoEHFMultimodalLM
from moe_eval_plugin.sweeps.plan import SCHEDULES
from moe_eval_plugin.sweeps.workers.batch_size import AUTO, found_batch_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lm_eval.api.instance import Instance

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hardware.meter import HardwareMeter
    from moe_eval_plugin.hosts.lm_eval.model import TaskCall
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.workers.progress import Progress


class ResidentLM(MoEHFLM):
    """The model of one sweep; ``progress`` gets what it does."""

    progress: Progress | None = None

    def verify_at(self, point: SweepPoint, requests: Sequence[Instance]) -> None:
        """Set the k of a point, and observe it on the first of the requests.

        Raises ``OverrideNotEffectiveError`` where tokens use another one.
        """
        self.set_experts(point.experts_k, point.experts_policy, point.renorm)
        self._observe(requests)

    def meter(self) -> HardwareMeter | None:
        """Build a meter of memory and energy; ``None`` with ``profile=off``."""
        return self._meter()

    def _verify(
        self, kind: str, of_tasks: Mapping[str, Sequence[Instance]]
    ) -> dict[str, VerifiedOverride]:
        if self.progress is not None:
            self.progress.doing("verifying the experts that tokens use")
        experts = super()._verify(kind, of_tasks)
        if self.progress is not None:
            self.progress.verified(experts)
        return experts

    @contextmanager
    def _timing(self, call: TaskCall) -> Iterator[None]:
        def count(batch: BatchTiming, n_requests: int) -> bool:
            if self.progress is not None:
                # Of a question with several requests, the last one counts.
                self.progress.answered(batch.n_samples)
            return call.report(batch, n_requests)

        with super()._timing(replace(call, report=count)):
            yield


class ResidentMultimodalLM(ResidentLM, MoEHFMultimodalLM):
    """The same, with images."""


CLASSES = {"moe_hf": ResidentLM, "moe_hf-multimodal": ResidentMultimodalLM}


class LmEvalResident:
    """A ``Resident`` that answers each point from its beginning."""

    def __init__(self, plan: SweepPlan, folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._folder = folder
        self._progress = progress
        self._model: ResidentLM | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def at(
        self,
        point: SweepPoint,
        model_args: Mapping[str, Any],
        of_the_host: Mapping[str, Any] | None,
    ) -> ResidentLM:
        """Return the model at a point, without the records of the one before."""
        if self._model is None:
            self._load(model_args, of_the_host)
        else:
            named = point.named_by_file(str(self._folder / SCHEDULES))
            self._model.set_experts(named.experts_k, named.experts_policy, named.renorm)
        model = self.loaded()
        found = found_batch_size(self._folder)
        if self._plan.batch_size == AUTO and found is not None:
            model.batch_size_per_gpu = found
        model.progress = self._progress
        return model

    def loaded(self) -> ResidentLM:
        """Return the model, which shows no progress; it is loaded if no point was run."""
        if self._model is None:
            run = self._plan.run(self._plan.points[0])
            of_the_host = {"batch_size": run.batch_size, "device": run.device}
            self._load(harness(self._plan.host).read_arguments(run.model_args), of_the_host)
        assert self._model is not None  # noqa: S101  (for the type checker)
        self._model.progress = None
        return self._model

    def _load(self, model_args: Mapping[str, Any], of_the_host: Mapping[str, Any] | None) -> None:
        self._progress.doing("loading the weights")
        self._model = CLASSES[self._plan.model].create_from_arg_obj(model_args, of_the_host)
