"""Locations that store k in an unusual way: which are found, set, rejected and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers.integrations import mxfp4

from moe_eval_plugin.experts.trace import NoRouterFoundError
from moe_eval_plugin.override import k_search
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.k_search import find_k_locations, key_read_in_forward
from moe_eval_plugin.testing import tiny_moe
from tests.families.contract import is_missing, model_of, observed, with_k
from tests.families.tiny_vision import QWEN_AUDIO
from tests.override.family_cases import BY_ID, accepted
from tests.override.tiny_models import build, resolve

if TYPE_CHECKING:
    from moe_eval_plugin.override.k_location import KLocation


def test_a_model_without_any_location_of_k_is_refused_unchanged() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    for layer in model.model.layers:
        del layer.mlp.gate.top_k
    vars(model.config)["num_experts_per_tok"] = None
    with pytest.raises(NoRouterFoundError) as caught, apply(model, resolved):
        pass
    assert not any(decision.accepted for decision in caught.value.trace)


def rejected(case_id: str) -> list[KLocation]:
    return [p for p in find_k_locations(model_of(BY_ID[case_id])) if not p.decision.accepted]


def test_a_hash_routed_layer_keeps_its_published_k() -> None:
    [location] = rejected("deepseek_v4")
    assert location.decision.path == "model.layers.0.mlp.gate"
    assert "looked up by token id" in location.decision.reason
    with pytest.raises(ValueError, match="looked up by token id"):
        location.set(2)
    with with_k(BY_ID["deepseek_v4"], 2):
        assert observed(BY_ID["deepseek_v4"]).distinct_k() == (2, 4)


def test_a_hash_routed_layer_may_be_in_a_schedule_with_its_published_k() -> None:
    case = BY_ID["deepseek_v4"]
    with with_k(case, {1: 2, 2: 6}):
        histograms = observed(case).by_layer()
    assert [set(seen) for seen in histograms.values()] == [{4}, {2}, {6}]


def test_each_modality_has_routers_of_its_own() -> None:
    found = [p for p in accepted("ernie4_5_vl_moe") if p.layer is not None]
    modalities = {p.decision.path.split(".")[5]: p.modality for p in found}
    assert modalities == {"text_moe": "text", "vision_moe": "image"}


def test_experts_of_an_image_tower_are_another_part_of_the_model() -> None:
    if is_missing(BY_ID["dots3_note"]):
        pytest.skip("this transformers has no dots3_note")
    reasons = {p.decision.path: p.decision.reason for p in rejected("dots3_note")}
    reason = reasons["model.vision_tower.blocks.1.mlp.gate"]
    assert reason == "it belongs to dots3_note_vision_encoder, another part of the model"


def test_the_factor_that_repeats_k_is_set_with_it() -> None:
    found = {(p.decision.owner, p.decision.attribute) for p in accepted("openai_privacy_filter")}
    assert ("OpenAIPrivacyFilterMLP", "num_experts") in found
    assert ("OpenAIPrivacyFilterTopKRouter", "top_k") in found


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
    found = find_k_locations(model)
    parts = {p.decision.path.split(".")[0]: p.decision.accepted for p in found if p.layer == 0}
    assert parts == {"thinker": True, "talker": False}
    talker = next(p for p in found if p.decision.path.startswith("talker"))
    assert "another part of the model" in talker.decision.reason


def speaking_model() -> torch.nn.Module:
    """Build the two language models of qwen3_omni as they are in the whole one."""
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
    layers = [p.layer for p in find_k_locations(model) if p.decision.attribute == "top_k"]
    assert layers == [0, 1, 2]
    assert "top_k" in mxfp4.Mxfp4GptOssMLP.forward.__code__.co_names


class ReadsItsConfig(torch.nn.Module):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden[: self.config.top_k_experts]


class ReadsNoConfig(torch.nn.Module):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden[: self.top_k_experts]


def test_a_router_in_no_table_is_judged_by_the_names_in_its_forward() -> None:
    keys = ("num_experts_per_tok", "top_k_experts")
    assert key_read_in_forward(ReadsItsConfig, keys) == "top_k_experts"
    assert key_read_in_forward(ReadsNoConfig, keys) is None


@pytest.mark.parametrize(
    ("module", "name"),
    [("gemma4", "Gemma4TextRouter"), ("diffusion_gemma", "DiffusionGemmaTextRouter")],
)
def test_the_table_of_routers_that_read_their_configuration_is_right(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = pytest.importorskip(f"transformers.models.{module}.modeling_{module}")
    key = k_search.READ_FROM_CONFIG[name]
    monkeypatch.setattr(k_search, "READ_FROM_CONFIG", {})
    assert key_read_in_forward(getattr(code, name), k_search.K_KEYS) == key
