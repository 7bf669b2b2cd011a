"""``moe_hf``: Hugging Face transformers under lmms-eval, at a verified k."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from moe_eval_plugin.bench.steady_decode import steady_decode
from moe_eval_plugin.engines.chat_template import ChatTemplate
from moe_eval_plugin.engines.checks.checkpoint import check_checkpoint
from moe_eval_plugin.engines.expert_request import check_request
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, QuestionCounter
from moe_eval_plugin.engines.transformers.batches.preparing import first_encodable
from moe_eval_plugin.engines.transformers.batches.profiler_trace import BatchTrace
from moe_eval_plugin.engines.transformers.batches.sharing_plan import plan_sharing
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.job_runner import JobRunner
from moe_eval_plugin.engines.transformers.options import check_available
from moe_eval_plugin.engines.transformers.provenance import provenance_of
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.hardware.meter import HardwareMeter
from moe_eval_plugin.hosts.lmms_eval.model import MoEModel
from moe_eval_plugin.hosts.unanswered import Skipped, raise_unless_counted
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments
from moe_eval_plugin.models import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from moe_eval_plugin.engines.expert_request import ExpertRequest, ModelConfig
    from moe_eval_plugin.engines.generation import GenerationSettings
    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.batches.batch_runner import BatchStore
    from moe_eval_plugin.engines.transformers.batches.sharing_plan import SharingPlan
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hosts.run_options import RunOptions
    from moe_eval_plugin.hosts.run_recorder import RunRecorder
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.steady_decode import SteadyDecode


class MoEHF(MoEModel):
    """A model on transformers; ``store`` keeps inputs and answers beyond one run."""

    model_name = "moe_hf"
    store: BatchStore | None = None
    sharing: SharingPlan | None = None
    _to_share: Sequence[Job] = ()

    @property
    def device(self) -> torch.device:
        """The device of the model's inputs."""
        return self.engine.input_device

    @property
    def chat_template(self) -> ChatTemplate:
        """The chat template, with the user's arguments to it."""
        return self.engine.template

    @property
    def engine_request(self) -> ExpertRequest:
        """The request that is in force."""
        return self.engine.request

    def set_experts(self, options: EngineOptions, seed: int | None) -> None:
        """Set another k, policy, renormalisation and seed; earlier records are dropped.

        Only these fields of ``options`` are read: the weights stay as they were loaded.
        """
        self.engine.set_experts(options.experts_k, options.experts_policy, options.renorm)
        self.options = replace(self.options, seed=seed)
        self.moe_eval_records = {}
        self._experts = {}

    def clean(self) -> None:
        """Restore the model's own k and let the host free its memory."""
        self.engine.close()
        del self.engine.model
        super().clean()

    @classmethod
    def _parse(cls, model_args: dict[str, Any]) -> tuple[EngineOptions, RunOptions]:
        return parse_arguments(model_args)

    @classmethod
    def check_settings(cls, settings: GenerationSettings) -> None:
        """Refuse nothing: transformers has all arguments."""

    @classmethod
    def _check(cls, engine_options: EngineOptions, checked: ModelConfig | None) -> ExpertRequest:
        check_available(engine_options)
        request = check_request(engine_options, checked)
        if checked is None:
            check_checkpoint(engine_options, request.model.config)
        return request

    @classmethod
    def _read_template(cls, engine_options: EngineOptions) -> ChatTemplate:
        return ChatTemplate.load(
            engine_options.pretrained,
            checkpoint.resolve(engine_options.pretrained),
            engine_options.template_arguments,
            revision=engine_options.revision,
            trust_remote_code=engine_options.trust_remote_code,
        )

    def _load(self, engine_options: EngineOptions, request: ExpertRequest) -> None:
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        if self.world_size > 1 and engine_options.device_map is None:
            engine_options = replace(engine_options, device=str(self.accelerator.device))
        self.engine = HFEngine(engine_options, request, system_prompt=self.options.system_prompt)
        self.batch_size = self.options.largest_batch(self.device)
        self.hardware_facts = describe_device(self.measured_device()).to_dict()

    def _prepare(self, jobs: Sequence[Job]) -> None:
        generates = bool(jobs) and not any(job.continuation for job in jobs)
        self.sharing, self._to_share = None, jobs if generates else ()
        if self.store is None:
            return
        self.store.start_run()
        if generates:
            self._plan_sharing()
            refuse = partial(raise_unless_counted, self.options.unanswerable)
            self.store.encode_ahead(self.engine, jobs, self.batch_size, refuse, self.sharing)

    def _plan_sharing(self) -> None:
        """Decide which questions share their images: two of each task are computed both ways."""
        if self._to_share and self.sharing is None:
            how = self.engine.options.share_images
            self.sharing = plan_sharing(self.engine, self._to_share, how)

    def _verify(self, jobs: Sequence[Job]) -> None:
        super()._verify(jobs)
        self._plan_sharing()

    def _complete(self, record: RunRecord) -> RunRecord:
        if self.sharing is None:
            return record
        return record.with_provenance(shared_images=self.sharing.describe(record.task))

    def _record(self, measured: Measurements) -> None:
        super()._record(measured if self.store is None else self.store.complete(measured))

    def _observe(self, jobs: Sequence[Job]) -> VerifiedOverride:
        skip = Skipped(self.options.unanswerable, len(jobs))
        chosen = first_encodable(self.engine, jobs, PROMPTS_TO_VERIFY, skip)
        return self.engine.verify([job.build() for job in chosen])

    def _meter(self) -> HardwareMeter | None:
        is_off = self.options.profile == "off"
        return None if is_off else HardwareMeter(self.measured_device())

    @contextmanager
    def _runner(
        self, jobs: Sequence[Job], recorder: RunRecorder, start: Callable[[], None]
    ) -> Iterator[JobRunner]:
        measures, folder = self.options.profile != "off", self.options.profile_trace
        with ExitStack() as stack:
            phases = stack.enter_context(self.engine.phase_recorder()) if measures else None
            trace = stack.enter_context(BatchTrace(folder, self.rank)) if folder else None
            start()
            runner = JobRunner(
                self.engine,
                Stopwatch(lambda: synchronize(str(self.device)), phases),
                recorder,
                QuestionCounter(jobs),
                self.batch_size,
                trace=trace,
                store=self.store,
                sharing=self.sharing,
            )
            yield runner
            self.batch_size = runner.batch_size

    def _engine_provenance(self) -> dict[str, Any]:
        return {
            **provenance_of(self.engine),
            "batch_size": self.batch_size,
            "profile": self.options.profile,
            "profile_trace": self.options.profile_trace,
            **({} if self.store is None else self.store.provenance()),
        }

    def _gather(self, mine: Any) -> list[Any]:  # noqa: ANN401
        gathered: list[Any] = gather_object([mine]) if self.world_size > 1 else [mine]
        return gathered

    def _steady_decode(self) -> SteadyDecode | None:
        if self.options.profile != "full":
            return None
        with tqdm(desc="steady decode", unit="generation", disable=None) as progress:
            return steady_decode(self.engine.model, progress=lambda _: progress.update())

    def measured_device(self) -> str:
        """Return the device of the weights, or all GPUs where they lie on several."""
        devices = self.engine.devices
        return devices.pop() if len(devices) == 1 else self.device.type
