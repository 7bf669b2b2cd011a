"""Bench engine for vLLM: submit a batch of requests at once, and read vLLM's own times."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.bench.engines.vllm_times import BatchTimes
from moe_eval_plugin.bench.measurement import Observed, Repetition
from moe_eval_plugin.bench.workload.inputs import BenchInputs
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, VERIFICATION_NEW_TOKENS
from moe_eval_plugin.engines.vllm.engine import VLLMEngine
from moe_eval_plugin.engines.vllm.hardware import WorkersHardware
from moe_eval_plugin.engines.vllm.options import CACHES_OFF, check_vllm_request
from moe_eval_plugin.errors import (
    EngineFailedError,
    InsufficientMemoryError,
    InvalidArgumentError,
    MeasurementError,
)
from moe_eval_plugin.measure.timing import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.plan import BenchPlan, Workload
    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.experts.verification import VerifiedOverride

TASK = "bench"


class VLLMBenchEngine:
    """Submits batches of random text tokens to vLLM, and reads vLLM's own times.

    With ``enforce_eager`` one vLLM serves all k. Otherwise its code is compiled for one k, so each
    k gets its own vLLM, and the previous one is stopped first. ``options`` need no k. What the plan
    needs is added to them: room for its largest batch, for prompt and answer, and no images.
    Raises the errors of ``VLLMEngine``.
    """

    def __init__(self, options: VLLMOptions, plan: BenchPlan, model: ModelConfig) -> None:
        needed = _needed(plan, model.config)
        self._options = replace(options, engine={**CACHES_OFF, **needed, **options.engine})
        _check_max_num_seqs(self._options.engine["max_num_seqs"], plan)
        self._inputs = BenchInputs(model.config, "cpu", torch.float32, seed=plan.seed)
        self._k: int | None = None
        self._verified: dict[int | None, VerifiedOverride] = {}
        self._energy: Mapping[str, Any] = {"source": None, "reasons": ()}
        self._engine: VLLMEngine | None = None
        self._model = model
        self._start(plan.experts_k[0])
        self.changes_k_live = bool(self.engine.config.model_config.enforce_eager)

    @property
    def engine(self) -> VLLMEngine:
        """The vLLM that runs now. Raises ``EngineFailedError`` where none does."""
        if self._engine is None:
            message = "vLLM is not running any more, so it cannot answer."
            raise EngineFailedError(message)
        return self._engine

    def close(self) -> None:
        """Stop vLLM."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
            # A vLLM in this process keeps its memory until nothing refers to it.
            gc.collect()

    def facts(self) -> dict[str, Any]:
        """Describe the vLLM that runs now, as plain data."""
        found = self.engine.provenance()
        versions = found.pop("versions")
        scheduler = self.engine.config.scheduler_config
        return {
            **found,
            "version": versions["vllm"],
            "load_format": str(self.engine.config.load_config.load_format),
            "quantization": self.engine.config.model_config.quantization,
            "max_num_batched_tokens": scheduler.max_num_batched_tokens,
            "cache_tokens": self._cache_tokens(),
        }

    def device(self) -> dict[str, Any]:
        """Describe the device that the workers run on, as plain data of ``DeviceFacts``."""
        found: dict[str, Any] = self._hardware.device()
        return found

    def energy(self) -> Mapping[str, Any]:
        """Describe the instrument that measures joules, as plain data."""
        return self._energy

    def notes(self, plan: BenchPlan) -> tuple[str, ...]:
        """Return what a reader must know to interpret the numbers of a plan."""
        return tuple(self._notes(plan))

    @contextmanager
    def at_k(self, experts_k: int | None) -> Iterator[None]:
        """Set k; vLLM keeps it after the block, because nothing else uses it."""
        if experts_k != self._k or self._engine is None:
            if self.changes_k_live:
                self.engine.set_k(experts_k)
                self._k = experts_k
            else:
                self._start(experts_k)
        yield

    def observe(self, workload: Workload) -> Observed:
        """Verify k with a few prompts, one at a time.

        The experts of a whole batch are not seen; a single token touches k of them.
        """
        self._require_room(workload)
        if self._k not in self._verified:
            self._verified[self._k] = self._verify(workload)
        verified = self._verified[self._k]
        distinct: tuple[float, ...] = ()
        if workload.batch_size == 1 and verified.observed is not None:
            distinct = (float(verified.observed),) * len(self.engine.request.model.moe_layers)
        return Observed(verified, decode_distinct_experts=distinct)

    def run(self, workload: Workload) -> Repetition:
        """Submit a batch at once, and read the times of its requests.

        Raises ``InsufficientMemoryError`` where vLLM could not run all of them at once.
        """
        self._require_room(workload)
        prompts = self._prompts(workload)
        self._hardware.start()
        begin, outputs = self.engine.run_tokens(prompts, _sampling(workload.new_tokens))
        wall_s = time.monotonic() - begin
        self._hardware.batch_end(TASK, is_last=True)
        use = self._hardware.finish()[TASK]
        self._energy = self._hardware.describe() or self._energy
        times = BatchTimes.read(begin, outputs)
        _check(times, workload, wall_s)
        return Repetition(
            batch_size=workload.batch_size,
            n_input_tokens=workload.batch_size * workload.prompt_tokens,
            new_tokens=workload.new_tokens,
            ttft_s=times.ttft_s,
            e2e_latency_s=times.e2e_latency_s,
            phases=times.phases(workload.new_tokens),
            joules=use.joules,
            peak_memory=use.peak_memory,
            request_times=times.of_requests(),
        )

    def _start(self, experts_k: int | None) -> None:
        self.close()
        options = replace(self._options, experts_k=experts_k)
        request = check_vllm_request(options, self._model)
        self._engine = VLLMEngine(options, request)
        self._hardware = WorkersHardware(self._engine.llm.collective_rpc)
        self._k = experts_k

    def _verify(self, workload: Workload) -> VerifiedOverride:
        few = replace(workload, batch_size=PROMPTS_TO_VERIFY, new_tokens=VERIFICATION_NEW_TOKENS)

        def ask() -> None:
            for prompt in self._prompts(few):
                self.engine.run_tokens([prompt], _sampling(few.new_tokens))

        verified: VerifiedOverride = self.engine.workers.verify(ask)
        return verified

    def _prompts(self, workload: Workload) -> list[list[int]]:
        prompts: list[list[int]] = self._inputs.make(workload)["input_ids"].tolist()
        return prompts

    def _cache_tokens(self) -> int | None:
        """Return how many tokens fit into the cache; ``None`` if there is no cache."""
        cache = self.engine.config.cache_config
        found = getattr(cache, "kv_cache_size_tokens", None)
        return found or (cache.num_gpu_blocks or 0) * cache.block_size or None

    def _require_room(self, workload: Workload) -> None:
        room, block = self._cache_tokens(), self.engine.config.cache_config.block_size
        n_blocks = -(-(workload.prompt_tokens + workload.new_tokens) // block)
        needed = workload.batch_size * n_blocks * block
        if room is not None and needed > room:
            message = f"vLLM's cache holds {room:,} tokens, and this batch needs {needed:,}"
            raise InsufficientMemoryError(message)

    def _notes(self, plan: BenchPlan) -> Iterator[str]:
        if self.engine.config.cache_config.enable_prefix_caching:
            yield (
                "Prefix caching is on, and all rounds have the same prompts: prefill is mostly "
                "read from the cache."
            )
        else:
            yield "Prefix caching is off, so that every prompt is computed."
        if not self.changes_k_live and len(plan.experts_k) > 1:
            yield (
                "vLLM was restarted for each k, because compiled code keeps its k. So the k were "
                "not measured in turn, and a slowdown of the machine may have affected one k "
                "only. With --enforce-eager they are measured in turn."
            )
        if plan.batch_sizes[-1] > 1:
            yield (
                "vLLM does not report which experts a batch touches: above batch 1 the ceiling of "
                "decode assumes the largest possible number, so it is an upper limit."
            )
        yield from self._note_on_steps(plan)

    def _note_on_steps(self, plan: BenchPlan) -> Iterator[str]:
        most = self.engine.config.scheduler_config.max_num_batched_tokens
        large = [n for n in plan.batch_sizes if n * plan.prompt_tokens > most]
        if large:
            yield (
                f"From batch {large[0]} on, vLLM reads the prompts in several steps of {most:,} "
                "tokens (max_num_batched_tokens) and decodes in between: both overlap."
            )


def _needed(plan: BenchPlan, config: PretrainedConfig) -> dict[str, Any]:
    """Return the engine arguments that a plan needs, unless the user sets them."""
    needed: dict[str, Any] = {
        "max_num_seqs": plan.batch_sizes[-1],
        "max_model_len": plan.prompt_tokens + plan.new_tokens,
        "seed": plan.seed,
    }
    if hasattr(config, "vision_config"):
        # Without images, no memory is reserved for them.
        needed["limit_mm_per_prompt"] = {"image": 0, "video": 0}
    return needed


def _check_max_num_seqs(most: object, plan: BenchPlan) -> None:
    if not isinstance(most, int) or most < plan.batch_sizes[-1]:
        message = (
            f"max_num_seqs={most} is too small: some of {plan.batch_sizes[-1]} requests would "
            "wait, and their time in the queue would be measured. Leave it out, or use smaller "
            "batch sizes."
        )
        raise InvalidArgumentError(message)


def _sampling(new_tokens: int) -> dict[str, Any]:
    return {"max_tokens": new_tokens, "ignore_eos": True, "temperature": 0.0}


def _check(times: BatchTimes, workload: Workload, wall_s: float) -> None:
    """Raise for a batch other than the requested one, or whose times contradict the clock."""
    if set(times.n_output_tokens) != {workload.new_tokens}:
        message = (
            f"{workload.new_tokens} tokens were requested of each request, but vLLM generated "
            f"{min(times.n_output_tokens)} to {max(times.n_output_tokens)}. Report it."
        )
        raise MeasurementError(message)
    if not times.ran_at_once:
        message = (
            f"vLLM did not run all {workload.batch_size} at once: its cache is too small, or the "
            "first answers ended before the last prompt was read (then use more new tokens or a "
            "larger max_num_batched_tokens)"
        )
        raise InsufficientMemoryError(message)
    if times.e2e_latency_s > wall_s * (1 + TOLERANCE):
        message = (
            f"vLLM reports {times.e2e_latency_s:.6f} s for a batch that took {wall_s:.6f} s of "
            "wall time, so its times cannot be right. Report it, with the version of vLLM."
        )
        raise MeasurementError(message)
