from __future__ import annotations

from moe_eval_plugin.override.k_search import find_k_locations
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
