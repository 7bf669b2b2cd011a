from __future__ import annotations

import torch

from moe_eval_plugin.experts.schedule_parser import parse_experts_k
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.k_search import find_k_locations
from moe_eval_plugin.override.observe import observe
from tests.families import moe_plus_plus
from tests.families.contract import model_of, observed, with_k
from tests.families.tiny_configs import Case
from tests.override.family_cases import BY_ID, accepted


def test_a_router_that_reads_a_shared_configuration_gets_one_of_its_own() -> None:
    model = model_of(BY_ID["gemma4_text"])
    shared = model.config
    first, second = (layer.router for layer in model.model.layers)
    first_location, *_ = [p for p in accepted("gemma4_text") if p.layer is not None]
    first_location.set(2)
    assert (first.config.top_k_experts, second.config.top_k_experts) == (2, 4)
    assert first.config is not shared
    assert shared.top_k_experts == 4
    first_location.restore()
    assert first.config is shared


def test_k_of_each_layer_in_a_list_is_set_in_that_list() -> None:
    case = BY_ID["hunyuan_v1_moe"]
    config = model_of(case).config
    published = config.moe_topk
    with with_k(case, {0: 2, 1: 6}):
        assert config.moe_topk == [2, 6]
        assert published == [4, 4]
    assert config.moe_topk is published


def test_a_list_with_another_k_for_each_layer_is_the_baseline_of_each() -> None:
    case = Case("hunyuan by layer", "hunyuan_v1_moe", "hunyuan_v1_moe")
    model = model_of(case)
    model.config.moe_topk = [2, 6]
    for layer, k in zip(model.model.layers, (2, 6), strict=True):
        layer.mlp.gate.top_k = k
    assert all(location.decision.accepted for location in find_k_locations(model))
    with with_k(case, 3):
        assert observed(case).distinct_k() == (3,)
    assert observed(case).distinct_k() == (2, 6)


@torch.no_grad()
def test_a_constant_of_remote_code_is_set_for_both_of_its_uses() -> None:
    torch.manual_seed(0)
    model = moe_plus_plus.MoePlusPlus()
    ids = torch.arange(16)[None]
    published = model(ids)
    schedule = parse_experts_k(3)
    assert schedule is not None
    resolved = schedule.resolve(describe(model.config))
    with apply(model, resolved) as trace, observe(model) as pending:
        at_three = model(ids)
    [decision] = trace.accepted
    assert decision.path == moe_plus_plus.__name__
    assert verify(resolved, 2, pending.result()).observed == 3
    assert moe_plus_plus.MOE_TOP_K == 2
    assert torch.equal(model(ids), published)
    moe_plus_plus.MOE_TOP_K = 3
    assert torch.equal(model(ids), at_three)
    moe_plus_plus.MOE_TOP_K = 2


@torch.no_grad()
def test_remote_code_with_a_zero_expert_gives_no_number_at_k_of_one() -> None:
    torch.manual_seed(0)
    model = moe_plus_plus.MoePlusPlus()
    [location] = find_k_locations(model)
    location.set(1)
    result = model(torch.arange(32)[None])
    location.restore()
    assert result.isnan().any()
