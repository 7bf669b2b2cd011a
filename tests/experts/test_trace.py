from __future__ import annotations

from moe_eval_plugin.experts.trace import NoRouterFoundError, OverrideTrace, RouterDecision
from moe_eval_plugin.override.apply import apply
from tests.override.tiny_models import build, resolve


def test_the_trace_has_what_was_set_and_what_was_rejected() -> None:
    model = build("qwen3_moe")
    model.model.layers[1].mlp.top_k = 7
    model.model.layers[0].self_attn.top_k = 4
    with apply(model, resolve(model, 2)) as trace:
        assert {decision.value for decision in trace.accepted} == {4}
    rejected = {d.path: d.reason for d in trace.decisions if not d.accepted}
    assert "it holds 7" in rejected["model.layers.1.mlp"]
    assert "no part of an MoE layer" in rejected["model.layers.0.self_attn"]
    assert model.model.layers[0].self_attn.top_k == 4


def test_a_model_without_a_location_of_k_is_an_error_with_every_decision() -> None:
    decision = RouterDecision("model.layers.0.mlp", "MoE", "top_k", 7, accepted=False, reason="no")
    error = NoRouterFoundError("nothing to set", [decision])
    assert error.trace == (decision,)
    assert OverrideTrace("2", error.trace).accepted == ()
