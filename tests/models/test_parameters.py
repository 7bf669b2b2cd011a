"""Parameters from a configuration alone, against really built models and counts by hand."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    BertConfig,
    GptOssConfig,
    PretrainedConfig,
    Qwen3Config,
    SwitchTransformersConfig,
)

from moe_eval_plugin.errors import InvalidExpertCountError, UserError
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.parameters import ParameterCounts, count_built, count_parameters
from tests.models.tiny_configs import (
    EXPERT,
    HIDDEN,
    SIZES,
    deepseek_v2,
    mixtral,
    qwen3_moe,
    qwen3_vl_moe,
)


def really_built(config: PretrainedConfig) -> int:
    is_vlm = config.model_type == "qwen3_vl_moe"
    auto = AutoModelForImageTextToText if is_vlm else AutoModelForCausalLM
    return sum(parameter.numel() for parameter in auto.from_config(config).parameters())


@pytest.mark.parametrize("make", [qwen3_moe, qwen3_vl_moe, mixtral, deepseek_v2])
def test_counts_equal_a_built_model_and_a_count_by_hand(make: Any) -> None:
    config = make()
    counts = count_parameters(config)
    total = really_built(config)
    assert counts.total == total
    assert counts.routed == 2 * 8 * EXPERT
    assert [layer.parameters_per_expert for layer in counts.layers] == [EXPERT, EXPERT]
    for k in (1, 2, 5, 8):
        assert counts.active(k) == total - 2 * (8 - k) * EXPERT


def test_layers_are_named_as_the_observation_names_them() -> None:
    layers = count_parameters(deepseek_v2()).layers
    assert [layer.path for layer in layers] == [
        "model.layers.1.mlp.experts",
        "model.layers.2.mlp.experts",
    ]


def test_biases_of_experts_are_theirs() -> None:
    config = GptOssConfig(**SIZES, num_hidden_layers=1, num_local_experts=4, num_experts_per_tok=2)
    per_expert = 3 * HIDDEN * 48 + 2 * 48 + HIDDEN
    (layer,) = count_parameters(config).layers
    assert (layer.parameters_per_expert, layer.routed_parameters) == (per_expert, 4 * per_expert)


def test_experts_in_a_dictionary_of_modules() -> None:
    config = SwitchTransformersConfig(
        vocab_size=64,
        d_model=32,
        d_ff=48,
        d_kv=8,
        num_heads=4,
        num_experts=4,
        num_layers=2,
        num_sparse_encoder_layers=1,
        num_decoder_layers=2,
        num_sparse_decoder_layers=1,
    )
    counts = count_parameters(config)
    assert {layer.parameters_per_expert for layer in counts.layers} == {2 * 32 * 48}
    assert {layer.num_experts for layer in counts.layers} == {4}


def test_list_of_experts_of_a_models_own_code() -> None:
    class OldConfig(PretrainedConfig):
        model_type = "old"
        num_experts = 3
        num_experts_per_tok = 2

    class OldModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(4, 5, bias=False) for _ in range(3))
            self.shared_experts = nn.Linear(4, 5, bias=False)

        @classmethod
        def _from_config(cls, _config: PretrainedConfig, **_options: Any) -> OldModel:
            return cls()

    AutoModelForCausalLM.register(OldConfig, OldModel)
    counts = count_parameters(OldConfig())
    assert (counts.total, counts.routed, counts.active(2)) == (80, 60, 60)


def test_experts_of_the_image_tower_are_not_routed_by_the_k_of_the_text() -> None:
    def block() -> nn.ModuleDict:
        return nn.ModuleDict({"experts": nn.ModuleList(nn.Linear(2, 2) for _ in range(3))})

    model = nn.ModuleDict({"vision_tower": block(), "layers": block()})
    counts = count_built(model, describe(qwen3_moe()))
    assert [layer.path for layer in counts.layers] == ["layers.experts"]


def test_tied_embeddings_count_once() -> None:
    tied = count_parameters(qwen3_moe(tie_word_embeddings=True))
    apart = count_parameters(qwen3_moe(tie_word_embeddings=False))
    assert apart.total - tied.total == 64 * HIDDEN
    assert tied.total == really_built(qwen3_moe(tie_word_embeddings=True))


def test_dense_model_has_no_layers_and_is_always_wholly_active() -> None:
    config = Qwen3Config(**SIZES, num_hidden_layers=2)
    counts = count_parameters(config)
    assert counts == ParameterCounts(total=really_built(config), routed=0, layers=())
    assert counts.active(4) == counts.total


@pytest.mark.parametrize("k", [-1, 9])
def test_k_outside_the_layers_is_refused(k: int) -> None:
    with pytest.raises(InvalidExpertCountError, match="8 routed experts"):
        count_parameters(qwen3_moe()).active(k)


def test_the_configuration_is_left_alone() -> None:
    config = qwen3_moe()
    before = config.to_dict()
    count_parameters(config)
    assert config.to_dict() == before


def test_a_model_that_transformers_has_no_class_for() -> None:
    class NoModelConfig(PretrainedConfig):
        model_type = "nobody"

    with pytest.raises(UserError, match="no language model for nobody"):
        count_parameters(NoModelConfig())


def test_a_configuration_that_cannot_be_built() -> None:
    with pytest.raises(UserError, match="cannot build qwen3_moe"):
        count_parameters(qwen3_moe(hidden_act="no_such_activation"))


def test_bert_counts_as_a_language_model_without_experts() -> None:
    config = BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, is_decoder=True)
    assert count_parameters(config).layers == ()
