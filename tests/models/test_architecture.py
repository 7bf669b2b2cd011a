"""The parts of a decoder layer, found by the names that families use for them."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from transformers import AutoConfig, PretrainedConfig

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.architecture import Architecture, read_architecture
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.parameters import build_on_meta, count_built
from moe_eval_plugin.testing import tiny_config
from tests.models.tiny_configs import EXPERT, HIDDEN, deepseek_v2, qwen3_moe, qwen3_vl_moe


def read(config: PretrainedConfig) -> Architecture:
    model = build_on_meta(config)
    return read_architecture(model, count_built(model, describe(config)).layers)


def test_dense_layer_and_moe_layers_with_shared_experts() -> None:
    dense, first, second = read(deepseek_v2()).layers
    assert [layer.is_moe for layer in (dense, first, second)] == [False, True, True]
    assert (dense.router_parameters, dense.shared_expert_parameters) == (0, 0)
    assert dense.other_parameters == 3 * HIDDEN * 48 + 2 * HIDDEN
    assert first.path == "model.layers.1"
    assert first.router_parameters == 8 * HIDDEN
    assert first.shared_expert_parameters == 2 * EXPERT
    assert (first.num_experts, first.parameters_per_expert) == (8, EXPERT)
    assert first.routed_parameters == 8 * EXPERT
    assert first.other_parameters == 2 * HIDDEN
    assert first.attention_parameters == second.attention_parameters > 0


@pytest.mark.parametrize(
    "model_type", ["qwen2_moe", "mixtral", "olmoe", "jamba", "gpt_oss", "minimax"]
)
def test_parts_of_a_layer_add_up_to_it(model_type: str) -> None:
    layers = read(tiny_config(model_type)).layers
    assert any(layer.is_moe for layer in layers)
    for layer in layers:
        parts = (
            layer.attention_parameters,
            layer.router_parameters,
            layer.routed_parameters,
            layer.shared_expert_parameters,
            layer.other_parameters,
        )
        assert sum(parts) == layer.parameters
        assert layer.attention_parameters > 0
        assert bool(layer.router_parameters) == layer.is_moe


def test_image_tower_is_apart_from_the_language_model() -> None:
    config = qwen3_vl_moe()
    anatomy = read(config)
    assert anatomy.image_matrix_parameters is not None
    assert anatomy.image_matrix_parameters > 0
    assert anatomy.cost == read(qwen3_moe()).cost
    assert read(qwen3_moe()).image_matrix_parameters is None


def test_window_of_a_layer_that_slides_and_of_one_that_does_not() -> None:
    config = tiny_config(
        "gpt_oss",
        num_hidden_layers=2,
        layer_types=["sliding_attention", "full_attention"],
        sliding_window=5,
    )
    cost = read(config).cost
    assert cost is not None
    assert [shape.window for shape in cost.attentions] == [5, None]


def test_attention_whose_sizes_cannot_be_read_leaves_the_cost_unknown() -> None:
    anatomy = read(tiny_config("jetmoe", kv_channels=8))
    assert anatomy.cost is None
    assert "layer 0 (JetMoeAttention)" in str(anatomy.cost_unknown_reason)
    assert anatomy.layers


def test_sizes_that_differ_by_layer_leave_the_cost_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(_config: object) -> int:
        message = "'v_head_dim' is a per-layer attribute"
        raise RuntimeError(message)

    config = deepseek_v2()
    model = build_on_meta(config)
    counts = count_built(model, describe(config))
    monkeypatch.setattr(type(config), "v_head_dim", property(differs))
    assert "layer 0 (DeepseekV2Attention)" in str(
        read_architecture(model, counts.layers).cost_unknown_reason
    )


def test_linear_attention_keeps_no_keys() -> None:
    layer_types = ["linear_attention", "full_attention"]
    config = tiny_config("minimax", num_hidden_layers=2, layer_types=layer_types)
    cost = read(config).cost
    assert cost is not None
    assert len(cost.attentions) == 1


def test_encoder_and_decoder_together_are_not_worked_out() -> None:
    config = AutoConfig.for_model("switch_transformers", num_layers=2, num_decoder_layers=2)
    anatomy = read(config)
    assert anatomy.cost is None
    assert "encoder" in str(anatomy.cost_unknown_reason)


def test_model_that_does_not_expose_its_decoder() -> None:
    class Bare(nn.Module):
        pass

    with pytest.raises(UserError, match="Bare does not expose"):
        read_architecture(Bare(), ())


def test_decoder_without_a_list_of_layers() -> None:
    class Flat(nn.Module):
        def get_decoder(self) -> Any:
            return self

    with pytest.raises(UserError, match="Flat has no list"):
        read_architecture(Flat(), ())
