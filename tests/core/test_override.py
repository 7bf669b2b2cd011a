"""The override on real, tiny models: set, observed, verified, restored bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin import override, probe
from moe_eval_plugin.errors import NoRouterFoundError, OverrideError, OverrideNotEffectiveError
from moe_eval_plugin.families import describe
from moe_eval_plugin.schedule import parse_experts_k
from moe_eval_plugin.testing import tiny_moe
from moe_eval_plugin.verification import verify

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from moe_eval_plugin.spec import ResolvedSchedule

TOKENS = torch.arange(2, 26).reshape(2, 12)
FAMILIES = ["qwen3_moe", "qwen2_moe", "mixtral", "olmoe", "gpt_oss"]


def build(model_type: str, k: int = 4) -> PreTrainedModel:
    changes: dict[str, Any] = {"num_experts_per_tok": k}
    if model_type in {"mixtral", "gpt_oss"}:
        changes["num_local_experts"] = 8
    return tiny_moe(model_type, **changes)


def resolve(model: PreTrainedModel, k: int) -> ResolvedSchedule:
    schedule = parse_experts_k(k)
    assert schedule is not None
    return schedule.resolve(describe(model.config))


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    return model(input_ids=TOKENS).logits


def observed(model: PreTrainedModel) -> probe.Observation:
    with probe.observe(model) as pending:
        logits(model)
    return pending.result()


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("k", [1, 2, 8])
def test_a_live_change_equals_a_rebuilt_model(model_type: str, k: int) -> None:
    model, rebuilt = build(model_type), build(model_type, k)
    rebuilt.load_state_dict(model.state_dict())
    before = logits(model)
    with override.apply(model, resolve(model, k)):
        changed = logits(model)
    assert torch.equal(changed, logits(rebuilt))
    assert not torch.equal(changed, before)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_observation_sees_the_k_that_was_set(model_type: str) -> None:
    model = build(model_type)
    resolved = resolve(model, 2)
    with override.apply(model, resolved):
        verified = verify(resolved, 4, observed(model))
    assert (verified.requested, verified.observed, verified.baseline) == (2, 2, 4)
    assert verified.n_layers == 3
    assert verified.n_text_tokens == TOKENS.numel()


def test_the_trace_tells_what_was_set_and_what_was_left_alone() -> None:
    model = build("qwen3_moe")
    model.model.layers[1].mlp.top_k = 7
    model.model.layers[0].self_attn.top_k = 4
    with override.apply(model, resolve(model, 2)) as trace:
        assert {decision.value for decision in trace.accepted} == {4}
    rejected = {d.path: d.reason for d in trace.decisions if not d.accepted}
    assert "it holds 7" in rejected["model.layers.1.mlp"]
    assert "no part of an MoE layer" in rejected["model.layers.0.self_attn"]
    assert model.model.layers[0].self_attn.top_k == 4


def test_an_exception_inside_the_block_restores_the_model() -> None:
    model = build("qwen3_moe")
    before = logits(model)
    with pytest.raises(KeyError), override.apply(model, resolve(model, 1)):
        raise KeyError
    assert torch.equal(logits(model), before)
    assert describe(model.config).num_experts_per_tok == 4


def test_a_nested_override_is_refused_and_the_first_one_stays() -> None:
    model = build("qwen3_moe")
    with override.apply(model, resolve(model, 3)):
        with (
            pytest.raises(OverrideError, match="cannot be nested"),
            override.apply(model, resolve(model, 1)),
        ):
            pass
        assert observed(model).distinct_k() == (3,)
    with override.apply(model, resolve(model, 1)):
        assert observed(model).distinct_k() == (1,)
    assert observed(model).distinct_k() == (4,)


def test_a_second_model_of_the_process_is_left_alone() -> None:
    model, other = build("qwen3_moe"), build("qwen3_moe")
    with override.apply(model, resolve(model, 2)):
        assert observed(other).distinct_k() == (4,)
        with override.apply(other, resolve(other, 1)):
            assert observed(model).distinct_k() == (2,)
            assert observed(other).distinct_k() == (1,)


@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_model_is_refused(*, whole: bool) -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    if whole:
        model.compile()
    else:
        model.model.layers[1] = torch.compile(model.model.layers[1])
    with pytest.raises(OverrideError, match="is compiled"), override.apply(model, resolved):
        pass
    assert model.model.layers[0].mlp.gate.top_k == 4


def test_k_set_on_the_configuration_only_is_caught() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    model.config.num_experts_per_tok = 2
    with pytest.raises(OverrideNotEffectiveError) as caught:
        verify(resolved, 4, observed(model))
    assert len(caught.value.wrong_layers()) == 3
    assert "2 asked for, observed 4 by 24 tokens" in str(caught.value)


def test_one_layer_that_keeps_its_k_is_caught() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    with override.apply(model, resolved):
        model.model.layers[2].mlp.gate.top_k = 4
        with pytest.raises(OverrideNotEffectiveError) as caught:
            verify(resolved, 4, observed(model))
    assert caught.value.wrong_layers() == ["model.layers.2.mlp.experts"]


def test_a_layer_that_no_token_reached_is_caught() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    with override.apply(model, resolved), probe.observe(model) as pending:
        pass
    with pytest.raises(OverrideNotEffectiveError, match="no token"):
        verify(resolved, 4, pending.result())


def test_a_model_without_any_place_for_k_is_refused_unchanged() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    for layer in model.model.layers:
        del layer.mlp.gate.top_k
    vars(model.config)["num_experts_per_tok"] = None
    with pytest.raises(NoRouterFoundError) as caught, override.apply(model, resolved):
        pass
    assert not any(decision.accepted for decision in caught.value.trace)


def test_without_a_request_the_observation_is_recorded() -> None:
    model = build("qwen3_moe")
    verified = verify(None, 4, observed(model))
    assert (verified.requested, verified.observed) == (None, 4)


def test_a_dense_model_has_no_observation() -> None:
    model = tiny_moe("qwen3")
    assert verify(None, None, observed(model)).observed is None
