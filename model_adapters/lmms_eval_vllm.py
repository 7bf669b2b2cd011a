"""``moe_vllm``: vLLM under lmms-eval, at a verified k."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.checks.checkpoint import check_vllm_files
from moe_eval_plugin.engines.generation import CheckpointSettings
from moe_eval_plugin.engines.request import QuestionCounter
from moe_eval_plugin.engines.vllm.engine import VLLMEngine
from moe_eval_plugin.engines.vllm.hardware import WorkersHardware
from moe_eval_plugin.engines.vllm.job_runner import JobRunner, sampling_arguments
from moe_eval_plugin.engines.vllm.messages import load_template
from moe_eval_plugin.engines.vllm.options import check_vllm_request
from moe_eval_plugin.engines.vllm.process import engine_alive_or_fail
from moe_eval_plugin.engines.vllm.request_times import request_phases
from moe_eval_plugin.hosts.lmms_eval.model import MoEModel
from moe_eval_plugin.hosts.unanswered import Skipped
from moe_eval_plugin.model_adapters.vllm_arguments import parse_arguments
from moe_eval_plugin.models import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.engines.chat_template import ChatTemplate
    from moe_eval_plugin.engines.expert_request import ExpertRequest, ModelConfig
    from moe_eval_plugin.engines.generation import GenerationSettings
    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hosts.run_options import RunOptions
    from moe_eval_plugin.hosts.run_recorder import RunRecorder
    from moe_eval_plugin.results.record import RunRecord


class MoEVLLM(MoEModel):
    """A model on vLLM; ``--model_args`` are ours, and vLLM's engine arguments."""

    model_name = "moe_vllm"

    @property
    def chat_template(self) -> ChatTemplate:
        """The chat template, with the user's arguments to it."""
        return self.engine.template

    @property
    def engine_request(self) -> ExpertRequest:
        """The request that is in force."""
        return self.engine.request

    def clean(self) -> None:
        """Stop vLLM, and let the host free its memory."""
        self.engine.close()
        super().clean()

    @classmethod
    def _parse(cls, model_args: dict[str, Any]) -> tuple[VLLMOptions, RunOptions]:
        return parse_arguments(model_args)

    @classmethod
    def _check(cls, engine_options: VLLMOptions, checked: ModelConfig | None) -> ExpertRequest:
        request = check_vllm_request(engine_options, checked)
        if checked is None:
            load_format = engine_options.engine.get("load_format")
            check_vllm_files(engine_options.pretrained, engine_options.revision, load_format)
        return request

    @classmethod
    def check_settings(cls, settings: GenerationSettings) -> None:
        """Refuse generation arguments that vLLM does not have."""
        sampling_arguments(settings, CheckpointSettings(), seed=0)

    @classmethod
    def _read_template(cls, engine_options: VLLMOptions) -> ChatTemplate:
        return load_template(engine_options, checkpoint.resolve(engine_options.pretrained))

    def _load(self, engine_options: VLLMOptions, request: ExpertRequest) -> None:
        self.at_once = self.options.fixed_batch()
        # vLLM seeds torch with its own seed, in this process too, so it must be that of the run.
        engine_options = replace(
            engine_options, engine={"seed": self.seed, **engine_options.engine}
        )
        self.engine = VLLMEngine(engine_options, request, system_prompt=self.options.system_prompt)
        self.hardware = WorkersHardware(self.engine.llm.collective_rpc)
        self.hardware_facts = self.hardware.device()

    def _observe(self, jobs: Sequence[Job]) -> VerifiedOverride:
        skip = Skipped(self.options.unanswerable, len(jobs))
        return self.engine.verify(
            (job.build for job in jobs), lambda position, reason: skip(jobs[position], reason)
        )

    def _meter(self) -> WorkersHardware:
        return self.hardware

    @contextmanager
    def _runner(
        self, jobs: Sequence[Job], recorder: RunRecorder, start: Callable[[], None]
    ) -> Iterator[JobRunner]:
        questions = QuestionCounter(jobs)
        with engine_alive_or_fail():
            start()
            runner = JobRunner(self.engine, recorder, questions, self.at_once)
            yield runner
        self._last_run = runner

    def _complete(self, record: RunRecord) -> RunRecord:
        """Add the parts of the requests' times, and how many requests vLLM refused.

        Where requests shared images or beginnings of prompts, their times are not those of one.
        """
        times = [] if record.speed.is_shared else self._last_run.times(record.task)
        provenance = {
            **record.provenance,
            "n_errors": len(self._last_run.errors(record.task)),
            "request_times": request_phases(times),
        }
        return replace(record, provenance=provenance)

    def _engine_provenance(self) -> dict[str, Any]:
        batch_size = self.at_once or self.engine.max_num_seqs
        return {**self.engine.provenance(), "batch_size": batch_size}
