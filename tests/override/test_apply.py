"""The override on real, tiny models: set, observed, verified, restored bit for bit."""

from __future__ import annotations

import pytest
import torch

from moe_eval_plugin.errors import OverrideError, UnsupportedFamilyError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import UNDER_OVERRIDE, apply
from tests.families import moe_plus_plus, moe_plus_plus_checkpoint
from tests.override.tiny_models import TOKENS, build, logits, observed, resolve

FAMILIES = ["qwen3_moe", "qwen2_moe", "mixtral", "olmoe", "gpt_oss"]


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("k", [1, 2, 8])
def test_a_live_change_equals_a_rebuilt_model(model_type: str, k: int) -> None:
    model, rebuilt = build(model_type), build(model_type, k)
    rebuilt.load_state_dict(model.state_dict())
    before = logits(model)
    with apply(model, resolve(model, k)):
        changed = logits(model)
    assert torch.equal(changed, logits(rebuilt))
    assert not torch.equal(changed, before)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_observation_sees_the_k_that_was_set(model_type: str) -> None:
    model = build(model_type)
    resolved = resolve(model, 2)
    with apply(model, resolved):
        verified = verify(resolved, 4, observed(model))
    assert (verified.requested, verified.observed, verified.baseline) == (2, 2, 4)
    assert verified.n_layers == 3
    assert verified.n_text_tokens == TOKENS.numel()


def test_an_exception_inside_the_block_restores_the_model() -> None:
    model = build("qwen3_moe")
    before = logits(model)
    with pytest.raises(KeyError), apply(model, resolve(model, 1)):
        raise KeyError
    assert torch.equal(logits(model), before)
    assert describe(model.config).num_experts_per_tok == 4


def test_a_nested_override_is_refused_and_the_first_one_stays() -> None:
    model = build("qwen3_moe")
    with apply(model, resolve(model, 3)):
        with (
            pytest.raises(OverrideError, match="cannot be nested"),
            apply(model, resolve(model, 1)),
        ):
            pass
        assert observed(model).distinct_k() == (3,)
    with apply(model, resolve(model, 1)):
        assert observed(model).distinct_k() == (1,)
    assert observed(model).distinct_k() == (4,)


def test_a_second_model_of_the_process_is_left_alone() -> None:
    model, other = build("qwen3_moe"), build("qwen3_moe")
    with apply(model, resolve(model, 2)):
        assert observed(other).distinct_k() == (4,)
        with apply(other, resolve(other, 1)):
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
    with pytest.raises(OverrideError, match="is compiled"), apply(model, resolved):
        pass
    assert model.model.layers[0].mlp.gate.top_k == 4


def test_experts_that_are_called_one_by_one_take_no_policy() -> None:
    model = moe_plus_plus_checkpoint.build()
    schedule = parse_experts_k(3)
    assert schedule is not None
    resolved = schedule.resolve(describe(model.config))
    with (
        pytest.raises(UnsupportedFamilyError, match="Experts cannot skip a dropped expert"),
        apply(model, resolved, RoutingRule("top_p", (0.5,))),
    ):
        pass
    assert moe_plus_plus.MOE_TOP_K == 2


def test_a_model_after_an_override_carries_nothing_of_it() -> None:
    model = build("qwen3_moe")
    attributes = set(vars(model))
    with apply(model, resolve(model, 2)):
        assert set(vars(model)) - attributes == {UNDER_OVERRIDE}
    assert set(vars(model)) == attributes


def test_a_description_that_is_passed_on_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build("qwen3_moe")
    description, resolved = describe(model.config), resolve(model, 2)
    for name in ("apply.describe", "k_search.describe"):
        monkeypatch.delattr(f"moe_eval_plugin.override.{name}")
    with apply(model, resolved, description=description) as trace:
        assert {decision.value for decision in trace.accepted} == {4}
