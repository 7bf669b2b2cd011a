"""``moe_hf`` in lmms-eval for a sweep: loaded once, and each point sets its own k.

Inputs are encoded before anything is measured; what memory does not take is encoded again at each
point, and the clock is stopped meanwhile. So no point does work that another one is spared. The
seconds of encoding are reported apart, and are part of the time to the first token and of the
latency of an answer, as they were when the inputs were encoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.transformers.shared.images import ImageOutputs
from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.shared.arguments import join_arguments
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from moe_eval_plugin.sweeps.identity.fingerprint import machine
from moe_eval_plugin.sweeps.workers.batch_size import found_batch_size
from moe_eval_plugin.sweeps.workers.batch_store import SweepBatches
from moe_eval_plugin.sweeps.workers.input_cache import InputCache, limit_bytes
from moe_eval_plugin.sweeps.workers.journal import Journal, journal_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.hardware.meter import HardwareMeter
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.workers.progress import Progress


class ResidentMoEHF(MoEHF):
    """The model of one sweep; the host gets it at each point, and ``progress`` what it does."""

    progress: Progress | None = None

    @user_errors()
    def switch_to(self, arg_string: str, additional_config: dict[str, Any] | None = None) -> None:
        """Set the k, the rule and the seed that these arguments of the model name."""
        arguments = join_arguments(arg_string, additional_config)
        engine_options, options = parse_arguments(arguments)
        self.set_experts(engine_options, options.seed)

    def verify_at(self, point: SweepPoint, jobs: Sequence[Job]) -> None:
        """Set the k of a point, and observe it on the first of the jobs.

        Raises ``OverrideNotEffectiveError`` where tokens use another one.
        """
        self.engine.set_experts(point.experts_k, point.experts_policy, point.renorm)
        self._observe(jobs)

    def meter(self) -> HardwareMeter | None:
        """Build a meter of memory and energy; ``None`` with ``profile=off``."""
        return self._meter()

    def clean(self) -> None:
        """Keep the weights: the host calls this at the end of each point."""

    def _prepare(self, jobs: Sequence[Job]) -> None:
        if self.progress is not None and jobs:
            self.progress.doing(f"encoding {len(jobs):,} questions")
        super()._prepare(jobs)

    def _verify(self, jobs: Sequence[Job]) -> None:
        if self.progress is not None:
            self.progress.doing("verifying the experts that tokens use")
        super()._verify(jobs)
        if self.progress is not None:
            self.progress.verified(self._experts)


class LmmsEvalResident:
    """A ``Resident`` with the journal of each point, and encoded inputs and images kept."""

    def __init__(
        self,
        plan: SweepPlan,
        checked: ModelConfig | None,
        folder: Path,
        settings: Mapping[str, Any],
        input_cache_gib: float | None,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._checked = checked
        self._folder = folder
        self._settings = settings
        self._input_cache_gib = input_cache_gib
        self._progress = progress
        self._inputs: InputCache | None = None
        self._model: ResidentMoEHF | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def at(
        self, point: SweepPoint, model_args: str, of_the_host: Mapping[str, Any] | None
    ) -> ResidentMoEHF:
        """Return the model at a point; what its journal holds is not answered again."""
        if self._model is None or self._inputs is None:
            self._model = self._load(join_arguments(model_args, of_the_host))
            limit = limit_bytes(self._input_cache_gib)
            self._inputs = InputCache(limit)
            self._model.engine.image_outputs = ImageOutputs(limit)
        else:
            self._model.switch_to(model_args, dict(of_the_host or {}))
        identity = {"digest": point.digest(self._settings), **machine()}
        journal = Journal(journal_path(self._folder, point.name), identity)
        self._model.batch_size = found_batch_size(self._folder) or self._model.batch_size
        self._model.store = SweepBatches(self._inputs, journal, self._progress.answered)
        return self._model

    def loaded(self) -> ResidentMoEHF:
        """Return the model without kept inputs and images; it is loaded if no point was run."""
        if self._model is None:
            plan = self._plan
            given = ",".join(part for part in (plan.model_args, plan.points[0].model_args) if part)
            of_the_host = {"batch_size": plan.batch_size, "device": plan.device}
            self._model = self._load(join_arguments(given, of_the_host))
        self._inputs, self._model.store, self._model.engine.image_outputs = None, None, None
        return self._model

    def _load(self, arguments: dict[str, Any]) -> ResidentMoEHF:
        self._progress.doing("loading the weights")
        model = ResidentMoEHF(self._checked, **arguments)
        model.progress = self._progress
        return model
