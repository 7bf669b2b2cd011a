"""A bench of a real vLLM in this process: what is verified, timed, and refused."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.bench.plan import BenchPlan
from moe_eval_plugin.bench.runner import measure
from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.errors import (
    InsufficientMemoryError,
    InvalidArgumentError,
    OverrideError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.bench.engines.vllm import VLLMBenchEngine
    from moe_eval_plugin.bench.measurement import Repetition


needs_vllm = pytest.mark.needs_vllm


PLAN = BenchPlan(experts_k=(8, 2), batch_sizes=(1, 4), prompt_tokens=24, new_tokens=8)


def start(plan: BenchPlan = PLAN, **engine: Any) -> VLLMBenchEngine:
    from moe_eval_plugin.bench.engines.vllm import VLLMBenchEngine
    from moe_eval_plugin.engines.vllm.options import VLLMOptions

    options = VLLMOptions("demo", engine={"dtype": "float32", "enforce_eager": True, **engine})
    return VLLMBenchEngine(options, plan, ModelConfig.load(options))


@pytest.fixture(scope="module")
def engine() -> Iterator[VLLMBenchEngine]:
    with closing(start()) as running:
        yield running


def check_times(repetition: Repetition) -> None:
    """The parts of a batch add up, and those of its requests lie within them."""
    phases, parts = repetition.phases, repetition.request_times
    assert phases is not None
    assert parts is not None
    assert phases.first_token_s == repetition.ttft_s
    assert 0 < phases.prefill_s <= repetition.ttft_s
    assert repetition.ttft_s + phases.decode_s == pytest.approx(repetition.e2e_latency_s)
    assert repetition.tpot_s == pytest.approx(phases.decode_s / 7)
    assert {part["n"] for part in parts.values()} == {repetition.batch_size}
    longest = sum(parts[name]["p95"] for name in ("queue_s", "prefill_s", "decode_s"))
    assert longest <= repetition.e2e_latency_s * 1.1
    assert 0 < parts["tpot_s"]["median"] <= repetition.e2e_latency_s / 7


@needs_vllm
def test_every_k_is_verified_and_the_times_of_its_batches_add_up(engine: VLLMBenchEngine) -> None:
    measured = measure(engine, PLAN)
    assert [found.setting for found in measured.points] == list(PLAN.settings())
    for found in measured.points:
        k, batch = found.setting.experts_k, found.setting.batch_size
        assert found.observed.verified.observed == k
        assert found.observed.verified.n_text_tokens > 0
        # A single token touches k experts of each of the four layers; a batch is not seen.
        assert found.observed.decode_distinct_experts == ((k,) * 4 if batch == 1 else ())
        for repetition in found.repetitions:
            assert repetition.n_input_tokens == batch * 24
            assert repetition.peak_memory is not None
            check_times(repetition)


@needs_vllm
def test_nothing_is_timed_at_a_k_that_tokens_do_not_use(engine: VLLMBenchEngine) -> None:
    def change(worker: Any) -> None:
        from moe_eval_plugin.engines.vllm.worker_observation import find_moe_layers

        _, layer = next(iter(find_moe_layers(worker.model_runner.get_model())))
        layer.router.top_k = 3

    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        # Behind the check of what layers hold, and before the prompts of the verification.
        engine.engine.llm.collective_rpc(change)

    plan = BenchPlan(experts_k=(4,), batch_sizes=(1,), prompt_tokens=24, new_tokens=8)
    with engine.at_k(4), pytest.raises(OverrideError, match="4 requested, observed 3"):
        measure(engine, plan, tell)
    assert told == ["k=4, batch 1: observing"]


@needs_vllm
def test_a_batch_that_the_cache_cannot_hold_ends_the_series() -> None:
    # On a CPU a block of the cache holds 128 tokens, and one block is vLLM's own.
    with closing(start(num_gpu_blocks_override=4)) as small:
        assert small.facts()["cache_tokens"] < 8 * 128
        workload = PLAN.workload(8)
        with pytest.raises(InsufficientMemoryError, match="this batch needs 1,024"):
            small.run(workload)
        assert small.run(PLAN.workload(1)).ttft_s > 0


@needs_vllm
def test_requests_that_waited_for_others_are_no_batch() -> None:
    from moe_eval_plugin.bench.engines.vllm_times import BatchTimes

    # Two at a time: the others wait in the queue, as they would for room in the cache.
    with closing(start(max_num_seqs=4)) as waiting:
        prompts = [[5, 6, 7, number] for number in range(8, 16)]
        sampling = {"max_tokens": 4, "ignore_eos": True, "temperature": 0.0}
        assert BatchTimes.read(*waiting.engine.run_tokens(prompts[:4], sampling)).ran_at_once
        assert not BatchTimes.read(*waiting.engine.run_tokens(prompts, sampling)).ran_at_once
        with pytest.raises(InsufficientMemoryError, match="did not run all 8 at once"):
            waiting.run(PLAN.workload(8))


@needs_vllm
def test_too_few_sequences_at_once_are_refused_before_vllm_starts() -> None:
    with pytest.raises(InvalidArgumentError, match="max_num_seqs=2 is too small"):
        start(max_num_seqs=2)
