"""Places that hold k in a way of their own: what is found there, set, left alone and put back."""

from __future__ import annotations

import pytest
import torch
from transformers.integrations import mxfp4

from moe_eval_plugin import override
from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.families import describe
from moe_eval_plugin.probe import observe
from moe_eval_plugin.routers import Place, find_places, layer_number
from moe_eval_plugin.schedule import parse_experts_k
from moe_eval_plugin.spec import RoutingRule
from moe_eval_plugin.testing import tiny_moe
from moe_eval_plugin.verification import verify

from . import moe_plus_plus
from .contract import CASES, is_missing, model_of, observed, with_k
from .tiny_configs import Case
from .tiny_vision import QWEN_AUDIO

BY_ID = {case.id: case for case in CASES}


def accepted(case_id: str) -> list[Place]:
    return [p for p in find_places(model_of(BY_ID[case_id])) if p.decision.accepted]


def rejected(case_id: str) -> list[Place]:
    return [p for p in find_places(model_of(BY_ID[case_id])) if not p.decision.accepted]


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("model.language_model.layers.3.mlp.gate", 3),
        ("transformer.blocks.11.ffn", 11),
        ("encoder.block.1.layer.2.mlp", 1),
        ("model.layers.7", 7),
        ("model.layers.2.mlp.experts.5.up_proj", 2),
        ("experts.5", None),
        ("model.layers", None),
        ("", None),
    ],
)
def test_the_layer_is_read_from_the_path(path: str, number: int | None) -> None:
    assert layer_number(path) == number


def test_a_router_that_reads_a_shared_configuration_gets_one_of_its_own() -> None:
    model = model_of(BY_ID["gemma4_text"])
    shared = model.config
    first, second = (layer.router for layer in model.model.layers)
    places = [p for p in accepted("gemma4_text") if p.layer is not None]
    places[0].set(2)
    assert (first.config.top_k_experts, second.config.top_k_experts) == (2, 4)
    assert first.config is not shared
    assert shared.top_k_experts == 4
    places[0].restore()
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
    assert all(place.decision.accepted for place in find_places(model))
    with with_k(case, 3):
        assert observed(case).distinct_k() == (3,)
    assert observed(case).distinct_k() == (2, 6)


def test_a_hash_routed_layer_keeps_its_published_k() -> None:
    [place] = rejected("deepseek_v4")
    assert place.decision.path == "model.layers.0.mlp.gate"
    assert "looked up by token id" in place.decision.reason
    with pytest.raises(ValueError, match="looked up by token id"):
        place.set(2)
    with with_k(BY_ID["deepseek_v4"], 2):
        assert observed(BY_ID["deepseek_v4"]).distinct_k() == (2, 4)


def test_a_hash_routed_layer_can_stand_in_a_schedule_with_its_published_k() -> None:
    case = BY_ID["deepseek_v4"]
    with with_k(case, {1: 2, 2: 6}):
        histograms = observed(case).by_layer()
    assert [set(seen) for seen in histograms.values()] == [{4}, {2}, {6}]


def test_each_modality_has_routers_of_its_own() -> None:
    places = accepted("ernie4_5_vl_moe")
    modalities = {p.decision.path.split(".")[5]: p.modality for p in places if p.layer is not None}
    assert modalities == {"text_moe": "text", "vision_moe": "image"}


def test_experts_of_an_image_tower_are_another_part_of_the_model() -> None:
    if is_missing(BY_ID["dots3_note"]):
        pytest.skip("this transformers has no dots3_note")
    reasons = {p.decision.path: p.decision.reason for p in rejected("dots3_note")}
    reason = reasons["model.vision_tower.blocks.1.mlp.gate"]
    assert reason == "it belongs to dots3_note_vision_encoder, another part of the model"


def test_the_factor_that_repeats_k_is_set_with_it() -> None:
    places = {(p.decision.owner, p.decision.attribute) for p in accepted("openai_privacy_filter")}
    assert ("OpenAIPrivacyFilterMLP", "num_experts") in places
    assert ("OpenAIPrivacyFilterTopKRouter", "top_k") in places


def test_attention_that_routes_is_set_with_its_experts() -> None:
    owners = {p.decision.owner for p in accepted("jetmoe")}
    assert {"JetMoeAttention", "JetMoeMoA", "JetMoeTopKGating"} <= owners


def test_a_caller_that_keeps_k_for_its_loss_is_shared_by_all_layers() -> None:
    layers = {p.decision.owner: p.layer for p in accepted("mixtral")}
    assert layers["MixtralForCausalLM"] is None
    assert layers["MixtralConfig"] is None
    assert layers["MixtralTopKRouter"] is not None


def test_the_talker_of_a_model_that_speaks_is_left_alone() -> None:
    model = speaking_model()
    places = find_places(model)
    parts = {p.decision.path.split(".")[0]: p.decision.accepted for p in places if p.layer == 0}
    assert parts == {"thinker": True, "talker": False}
    talker = next(p for p in places if p.decision.path.startswith("talker"))
    assert "another part of the model" in talker.decision.reason


def speaking_model() -> torch.nn.Module:
    """Build the two language models of qwen3_omni as they stand in the whole one."""
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeThinkerForConditionalGeneration
    from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as code

    thinker = BY_ID["qwen3_omni_moe_thinker"].config()
    text = thinker.text_config.to_dict()
    del text["model_type"]
    config = Qwen3OmniMoeConfig(
        thinker_config=thinker.to_dict(),
        talker_config={
            "text_config": {**text, "shared_expert_intermediate_size": 16},
            "audio_config": QWEN_AUDIO,
        },
    )
    model = torch.nn.Module()
    model.config = config
    model.thinker = Qwen3OmniMoeThinkerForConditionalGeneration(config.thinker_config)
    model.talker = code.Qwen3OmniMoeTalkerModel(config.talker_config.text_config)
    return model


def test_the_router_of_the_mxfp4_path_is_found() -> None:
    if not hasattr(mxfp4, "Mxfp4GptOssMLP"):
        pytest.skip("this transformers has no module for the mxfp4 path")
    model = tiny_moe("gpt_oss", num_local_experts=8)
    for layer in model.model.layers:
        experts = mxfp4.Mxfp4GptOssExperts(model.config)
        layer.mlp = mxfp4.Mxfp4GptOssMLP(layer.mlp.router, experts)
    layers = [p.layer for p in find_places(model) if p.decision.attribute == "top_k"]
    assert layers == [0, 1, 2]
    assert "top_k" in mxfp4.Mxfp4GptOssMLP.forward.__code__.co_names


@torch.no_grad()
def test_a_constant_of_remote_code_is_set_for_both_of_its_uses() -> None:
    torch.manual_seed(0)
    model = moe_plus_plus.MoePlusPlus()
    ids = torch.arange(16)[None]
    published = model(ids)
    schedule = parse_experts_k(3)
    assert schedule is not None
    resolved = schedule.resolve(describe(model.config))
    with override.apply(model, resolved) as trace, observe(model) as pending:
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
def test_the_last_four_experts_of_moe_plus_plus_do_not_count_as_computing() -> None:
    torch.manual_seed(0)
    model = moe_plus_plus.MoePlusPlus()
    with observe(model) as pending:
        model(torch.arange(32)[None])
    observation = pending.result()
    used = observation.mean_ffn_k()
    assert observation.distinct_k() == (2,)
    assert used is not None
    assert used < 2
    assert {(x.num_experts, x.num_zero_experts) for x in observation.layers.values()} == {
        (moe_plus_plus.N_FFN, moe_plus_plus.N_OTHER)
    }


@torch.no_grad()
def test_remote_code_with_a_zero_expert_gives_no_number_at_k_of_one() -> None:
    torch.manual_seed(0)
    model = moe_plus_plus.MoePlusPlus()
    [place] = find_places(model)
    place.set(1)
    result = model(torch.arange(32)[None])
    place.restore()
    assert result.isnan().any()


def test_a_constant_for_all_layers_takes_no_policy() -> None:
    model = moe_plus_plus.MoePlusPlus()
    schedule = parse_experts_k(3)
    assert schedule is not None
    resolved = schedule.resolve(describe(model.config))
    with (
        pytest.raises(UnsupportedFamilyError, match="one k for all its layers"),
        override.apply(model, resolved, RoutingRule("top_p", 0.5)),
    ):
        pass
    assert moe_plus_plus.MOE_TOP_K == 2
