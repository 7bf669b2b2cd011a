"""A whole bench of real, very small models."""

from __future__ import annotations

import pytest
from transformers import SwitchTransformersConfig, SwitchTransformersForConditionalGeneration

from moe_eval_plugin.bench.plan import BenchPlan
from moe_eval_plugin.bench.runner import run_bench
from moe_eval_plugin.bench.targets.transformers import bench_target
from moe_eval_plugin.bench.text import render
from moe_eval_plugin.bench.workload.random_weights import Routing, build
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.testing import tiny_config, tiny_moe
from tests.bench.model_state import state

PLAN = BenchPlan(experts_k=(4, 2, 1), batch_sizes=(1, 3), prompt_tokens=8, new_tokens=6)


def test_a_model_is_benched_at_each_k_and_restored() -> None:
    model = tiny_moe()
    before = state(model)
    target = bench_target(model, {"name": "tiny"}, PLAN)
    report = run_bench(target, PLAN, describe_device("cpu"))
    assert state(model) == before
    assert [p.observed_num_experts_per_tok for p in report.points] == [4, 4, 2, 2, 1, 1]
    for point in report.points:
        assert point.speed.decode_tokens_per_s is not None
        assert point.decode is not None
        assert point.decode.flops is not None
        assert point.decode.gain_efficiency is not None
        assert len(point.repetitions) == 3
    ones = [p for p in report.points if p.batch_size == 1]
    # One sequence touches exactly its k experts in a step.
    assert [p.distinct_experts_per_decode_step for p in ones] == [4, 2, 1]
    assert report.model["dtype"] == "float32"
    assert report.model["baseline_num_experts_per_tok"] == 4
    assert "tiny (qwen3_moe, trained, float32)" in render(report)


def test_a_dense_model_is_timed_as_it_is() -> None:
    plan = BenchPlan(batch_sizes=(1,), prompt_tokens=8, new_tokens=4)
    target = bench_target(tiny_moe("qwen3"), {"name": "dense"}, plan)
    (point,) = run_bench(target, plan, describe_device("cpu")).points
    assert point.observed_num_experts_per_tok is None
    assert point.distinct_experts_per_decode_step is None
    assert point.speed.decode_tokens_per_s is not None


def test_nothing_is_reported_where_a_router_keeps_its_k() -> None:
    model = tiny_moe()
    gate = model.model.layers[0].mlp.gate
    gate.register_forward_pre_hook(lambda module, _: setattr(module, "top_k", 4))
    target = bench_target(model, {}, PLAN)
    with pytest.raises(OverrideNotEffectiveError):
        run_bench(target, PLAN, describe_device("cpu"))


def test_a_model_that_computes_all_experts_has_no_ceiling() -> None:
    config = tiny_config("llama4_text", num_local_experts=8, interleave_moe_layer_step=1)
    target = bench_target(build(config), {}, PLAN)
    assert target.cost is None
    assert target.cost_unknown_reason is not None
    assert "All experts compute every token" in target.cost_unknown_reason


def test_sizes_that_cannot_be_read_leave_their_reason() -> None:
    target = bench_target(build(tiny_config("jetmoe", kv_channels=8)), {}, PLAN)
    assert target.cost is None
    assert "JetMoeAttention" in (target.cost_unknown_reason or "")


def test_an_encoder_with_a_decoder_is_refused() -> None:
    config = SwitchTransformersConfig(
        vocab_size=64, d_model=32, d_ff=48, d_kv=8, num_heads=4, num_experts=4
    )
    model = SwitchTransformersForConditionalGeneration(config)
    with pytest.raises(UserError, match="an encoder and a decoder"):
        bench_target(model, {}, PLAN)


def test_more_popular_experts_mean_fewer_distinct_ones() -> None:
    plan = BenchPlan(experts_k=(2,), batch_sizes=(8,), prompt_tokens=8, new_tokens=6)
    config = tiny_config(hidden_size=64, num_experts=32, vocab_size=512)
    found = []
    for routing in (Routing(), Routing(2.0)):
        target = bench_target(build(config, routing), {"routing": str(routing)}, plan)
        (point,) = run_bench(target, plan, describe_device("cpu")).points
        found.append((point.distinct_experts_per_decode_step, point.load_entropy))
    (even, even_entropy), (skewed, skewed_entropy) = found
    assert even is not None
    assert skewed is not None
    assert even > 1.5 * skewed
    assert even_entropy is not None
    assert skewed_entropy is not None
    assert even_entropy > skewed_entropy
