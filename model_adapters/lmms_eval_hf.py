"""``moe_hf``: Hugging Face transformers under lmms-eval, at a verified number of active experts."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from tqdm import tqdm

from moe_eval_plugin.bench.steady_decode import steady_decode
from moe_eval_plugin.engines.transformers.batch_runner import BatchRunner
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import check_request
from moe_eval_plugin.engines.transformers.profiler_trace import BatchTrace
from moe_eval_plugin.experts.verification import raise_if_ranks_differ
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.hardware.meter import HardwareMeter
from moe_eval_plugin.hosts.lmms_eval.arguments import parse_arg_string
from moe_eval_plugin.hosts.lmms_eval.exit_codes import user_errors
from moe_eval_plugin.hosts.lmms_eval.requests import RequestReader
from moe_eval_plugin.hosts.run_recorder import RunRecorder, announce_end
from moe_eval_plugin.measure import synchronize
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments
from moe_eval_plugin.plugins.announcer import Announcer
from moe_eval_plugin.plugins.manager import plugin_manager
from moe_eval_plugin.results.measurements import make_records
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmms_eval.api.instance import Instance

    from moe_eval_plugin.engines.request import Conversation, Job
    from moe_eval_plugin.engines.transformers.engine import Generated
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.results.record import RunRecord

logger = logging.getLogger(__name__)

PROMPTS_TO_VERIFY = 4


class MoEHF(lmms):
    """A chat model for lmms-eval; ``--model_args`` are the fields of the two option classes."""

    is_simple = False

    @user_errors()
    def __init__(self, **model_args: Any) -> None:  # noqa: ANN401  (the host passes what the user wrote)
        super().__init__()
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        engine_options, self.options = parse_arguments(model_args)
        if self.world_size > 1 and engine_options.device_map is None:
            engine_options = replace(engine_options, device=str(self.accelerator.device))
        self.options.largest_batch(torch.device("cpu"))
        if self.options.system_prompt:
            prompt = self._resolve_system_prompt(self.options.system_prompt)
            self.options = replace(self.options, system_prompt=prompt.replace("\\n", "\n"))
        self.engine = HFEngine(engine_options)
        self.batch_size = self.options.largest_batch(self.device)
        self.moe_eval_records: dict[str, RunRecord] = {}
        self._experts: dict[str, VerifiedOverride] = {}
        self._requests = RequestReader(self, self.options)
        self._announcer = Announcer(plugin_manager())
        self._hardware = describe_device(self._measured_device()).to_dict()

    @classmethod
    @user_errors()
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> MoEHF:
        """Build the model from ``--model_args``, which come before the host's own options."""
        return cls(**{**(additional_config or {}), **parse_arg_string(arg_string)})

    @property
    def device(self) -> torch.device:
        """The device of the model's inputs."""
        return self.engine.input_device

    def set_experts(self, options: EngineOptions, seed: int) -> None:
        """Go on with the k, policy, renormalisation and seed given; earlier records are dropped.

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

    @user_errors()
    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer every request; the answers stand in the order of the requests."""
        jobs = self._requests.jobs(requests)
        with self._measured(jobs) as run:
            outcome = self._runner(run).run(jobs, self.batch_size)
            self.batch_size = outcome.batch_size
        answers, nothing = outcome.answers, GenerationResult(text="")
        return [_as_result(answers[i]) if i in answers else nothing for i in range(len(requests))]

    @user_errors()
    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """Answer each request round by round, as its task asks; one list of answers for each."""
        jobs = self._requests.jobs(requests)
        answers = {}
        with self._measured(jobs) as run:
            for job in jobs:
                ask = partial(self._ask, job=job, stopwatch=run.stopwatch)
                rounds = self._requests.all_rounds(requests[job.index], ask)
                answers[job.index] = [one.text for one in rounds]
                n_input_tokens = sum(one.n_input_tokens for one in rounds)
                n_output_tokens = [sum(one.n_output_tokens for one in rounds)]
                run.after_batch(run.stopwatch.lap(job.task, 1, n_input_tokens, n_output_tokens))
        return [answers.get(index, []) for index in range(len(requests))]

    @user_errors()
    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Score each continuation: the sum of its log-probabilities, and whether it is greedy."""
        jobs = [self._requests.scoring_job(i, request) for i, request in enumerate(requests)]
        scores = []
        with self._measured(jobs) as run:
            for job, request in zip(jobs, requests, strict=True):
                continuation = self._requests.continuation(request)
                with run.stopwatch.encoding():
                    encoded = self.engine.encode([job.build()])
                with run.stopwatch.calling():
                    scored = self.engine.score(encoded, continuation)
                scores.append((scored.log_probability, scored.is_greedy))
                run.after_batch(run.stopwatch.lap(job.task, 1, scored.n_input_tokens, ()))
        return scores

    @contextmanager
    def _measured(self, jobs: Sequence[Job]) -> Iterator[Run]:
        """Verify k on these requests, measure what the block runs of them, and record it."""
        self._verify(jobs)
        set_seed(self.options.seed)
        measures, folder = self.options.profile != "off", self.options.profile_trace
        with ExitStack() as stack:
            phases = stack.enter_context(self.engine.phase_recorder()) if measures else None
            trace = stack.enter_context(BatchTrace(folder, self.rank)) if folder else None
            hidden = self.rank != 0
            progress = tqdm(total=len(jobs), desc="moe_hf", unit="request", disable=hidden)
            stack.enter_context(progress)
            meter = HardwareMeter(self._measured_device()) if measures else None
            recorder = RunRecorder(self._announcer, self.rank, meter)
            recorder.start([job.task for job in jobs], self._experts, self._provenance())
            yield Run(Stopwatch(self._synchronize, phases), recorder, progress, trace)
        self._record(recorder.measurements())

    def _runner(self, run: Run) -> BatchRunner:
        """Make what takes requests through the engine, batch by batch."""
        on_cpu = self.device.type == "cpu"
        return BatchRunner(self.engine, run.stopwatch, run.after_batch, overlaps=not on_cpu)

    def _verify(self, jobs: Sequence[Job]) -> None:
        """Observe k on the first prompts of each task, before anything is scored or timed."""
        for task in dict.fromkeys(job.task for job in jobs):
            prompts = [job for job in jobs if job.task == task][:PROMPTS_TO_VERIFY]
            experts = self.engine.verify([job.build() for job in prompts])
            self._experts[task] = experts
            logger.info("%s: %s", task, experts)
        mine = [dict(self._experts)]
        raise_if_ranks_differ(gather_object(mine) if self.world_size > 1 else mine)

    def _record(self, measured: Measurements) -> None:
        """Join what all ranks measured, and hand the records to plugins and the host's table."""
        ranks = gather_object([measured]) if self.world_size > 1 else [measured]
        steady = self._steady_decode() if self.rank == 0 else None
        records = make_records(ranks, self._experts, self._provenance(), steady)
        self.moe_eval_records.update(announce_end(self._announcer, records, self.rank))
        n_tokens = sum(batch.n_output_tokens for batch in measured.batches)
        seconds = sum(batch.wall_s for batch in measured.batches)
        if seconds > 0:
            log_metrics(
                total_gen_tokens=n_tokens,
                total_elapsed_time=seconds,
                avg_speed=n_tokens / seconds,
                additional_metrics={"rank": self.rank},
            )

    def _steady_decode(self) -> dict[str, Any] | None:
        """Measure steady decode at the k of this model, where that is asked for."""
        if self.options.profile != "full":
            return None
        with tqdm(desc="steady decode", unit="generation", disable=None) as progress:
            return steady_decode(self.engine.model, progress=lambda _: progress.update()).to_dict()

    def _measured_device(self) -> str:
        """Name the device of the weights, or all GPUs where they lie on several."""
        devices = self.engine.devices
        return devices.pop() if len(devices) == 1 else self.device.type

    def _provenance(self) -> dict[str, Any]:
        """Tell how these numbers came about, as far as the model knows."""
        engine, config = self.engine, self.engine.model.config
        on_gpu = self.device.type == "cuda"
        return {
            "pretrained": engine.options.pretrained,
            "revision": getattr(config, "_commit_hash", None) or engine.options.revision,
            "model_class": type(engine.model).__name__,
            "experts_k": engine.resolved.schedule.text if engine.resolved else None,
            "experts_policy": engine.rule.policy_text,
            "renorm": engine.rule.renorm,
            "warnings": list(engine.warnings),
            "experts_implementation": getattr(config, "_experts_implementation", None),
            "attn_implementation": getattr(config, "_attn_implementation", None),
            "dtype": str(engine.model.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(self.device) if on_gpu else self.device.type,
            "batch_size": self.batch_size,
            "hardware": self._hardware,
            "n_ranks": self.world_size,
            "seed": self.options.seed,
            "system_prompt": self.options.system_prompt,
            "profile": self.options.profile,
            "profile_trace": self.options.profile_trace,
            "versions": installed_versions(),
        }

    def _ask(self, conversation: Conversation, job: Job, stopwatch: Stopwatch) -> list[Generated]:
        """Answer one round of a request that has several."""
        with stopwatch.encoding():
            encoded = self.engine.encode([conversation])
        with stopwatch.calling():
            return self.engine.generate(
                encoded, job.settings.arguments, job.settings.until, stopwatch.on_token
            )

    def _synchronize(self) -> None:
        synchronize.synchronize(str(self.device))


@dataclass(frozen=True)
class Run:
    """A run that is measured: its times, its progress bar, and its trace if one is wanted."""

    stopwatch: Stopwatch
    recorder: RunRecorder
    progress: Any
    trace: BatchTrace | None

    def after_batch(self, timing: BatchTiming) -> None:
        """Tell who wants to know that a batch is done; what they do takes no time of the run."""
        self.progress.update(timing.n_samples)
        others_worked = self.recorder.batch_end(timing)
        if self.trace is not None:
            self.trace.step()
        if others_worked or self.trace is not None:
            self.stopwatch.restart()


@user_errors()
def check_arguments(arg_string: str) -> None:
    """Refuse ``--model_args`` that no model could be built from; nothing is loaded."""
    engine_options, options = parse_arguments(parse_arg_string(arg_string))
    options.largest_batch(torch.device("cpu"))
    check_request(engine_options)


def _as_result(answer: Generated) -> GenerationResult:
    counts = TokenCounts(input_tokens=answer.n_input_tokens, output_tokens=answer.n_output_tokens)
    return GenerationResult(text=answer.text, token_counts=counts)
