"""A model that no layout represents exactly is refused by name, and nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe
from moe_eval_plugin.conversion.options import ConversionOptions
from moe_eval_plugin.errors import (
    BrokenCheckpointError,
    InvalidArgumentError,
    UnsupportedCheckpointError,
    UserError,
)
from tests.conversion.checkpoints import ARGUMENTS, OF_ROUTERS, layer, model, moe_layer, save

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ALL: Mapping[str, Any] = {**ARGUMENTS, **OF_ROUTERS}


def refusal(tmp_path: Path, error: type[UserError], run: Path, **options: Any) -> str:
    """Return the message of a conversion that is refused, and see that it wrote nothing."""
    output = tmp_path / "out" / "model"
    with pytest.raises(error) as refused:
        convert_flame_moe(run, output, ConversionOptions(**options))
    assert not output.parent.exists()
    return str(refused.value)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return model(layer(), moe_layer())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("add_bias_linear", True),
        ("add_qkv_bias", True),
        ("apply_layernorm_1p", True),
        ("multi_latent_attention", True),
        ("no_rope_freq", 4),
        ("normalization", "LayerNorm"),
        ("position_embedding_type", "learned_absolute"),
        ("qk_layernorm", True),
        ("rotary_interleaved", True),
        ("rotary_percent", 0.5),
        ("rotary_seq_len_interpolation_factor", 4),
        ("swiglu", False),
        ("untie_embeddings_and_output_weights", False),
        ("use_rope_scaling", True),
        ("window_size", (128, 0)),
        ("moe_expert_capacity_factor", 1.25),
        ("moe_router_enable_expert_bias", True),
        ("moe_router_group_topk", 2),
        ("moe_router_load_balancing_type", "sinkhorn"),
        ("moe_router_load_balancing_type", ["aux_loss", "sinkhorn"]),
        ("moe_router_num_groups", 4),
        ("moe_router_pre_softmax", False),
        ("moe_router_score_function", "sigmoid"),
        ("moe_router_topk_scaling_factor", 2.5),
    ],
)
def test_an_argument_that_changes_the_model_is_named(
    weights: Mapping[str, Any], tmp_path: Path, name: str, value: object
) -> None:
    run = save(tmp_path / "run", weights, {**ALL, name: value})
    assert f"{name}={value!r}" in refusal(tmp_path, UnsupportedCheckpointError, run)


@pytest.mark.parametrize(
    "key",
    [
        "decoder.layers.1.mlp.router.expert_bias",
        "decoder.layers.1.mlp.shared_experts.gate_weight",
        "decoder.layers.0.self_attention.linear_qkv.bias",
        "decoder.layers.0.self_attention.q_layernorm.weight",
        "decoder.layers.1.mlp.linear_fc1.layer_norm_weight",
        "embedding.position_embeddings.weight",
        "mtp.layers.0.eh_proj.weight",
        "ema.optimizer.state.exp_avg.output_layer.weight",
    ],
)
def test_a_weight_that_the_layouts_do_not_have_is_named(
    weights: Mapping[str, Any], tmp_path: Path, key: str
) -> None:
    run = save(tmp_path / "run", {**weights, key: torch.ones(4)}, ALL)
    assert key in refusal(tmp_path, UnsupportedCheckpointError, run)


@pytest.mark.parametrize(
    "key",
    [
        "embedding.word_embeddings.weight",
        "output_layer.weight",
        "decoder.final_layernorm.weight",
        "decoder.layers.0.mlp.linear_fc2.weight",
        "decoder.layers.1.pre_mlp_layernorm.weight",
        "decoder.layers.1.mlp.shared_experts.linear_fc1.weight",
    ],
)
def test_a_weight_that_is_missing_is_named(
    weights: Mapping[str, Any], tmp_path: Path, key: str
) -> None:
    others = {name: one for name, one in weights.items() if name != key}
    run = save(tmp_path / "run", others, ALL)
    assert f"has no {key}" in refusal(tmp_path, BrokenCheckpointError, run)


def test_a_layer_that_is_missing_is_named(tmp_path: Path) -> None:
    whole = model(layer(), layer(), layer())
    others = {name: one for name, one in whole.items() if ".layers.1." not in name}
    run = save(tmp_path / "run", others, ARGUMENTS)
    assert "has no layer 1" in refusal(tmp_path, BrokenCheckpointError, run)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden_size", 64, "hidden_size=64, and the tensors 32"),
        ("num_layers", 3, "num_layers=3, and the tensors 2"),
        ("padded_vocab_size", 50304, "padded_vocab_size=50304, and the tensors 64"),
        ("num_experts", 64, "num_experts=64, and the tensors 4"),
        ("moe_layer_freq", [1, 1], "moe_layer_freq=[0, 1], and the tensors [1]"),
        ("moe_router_topk", 5, "moe_router_topk=5, and the tensors 4"),
    ],
)
def test_arguments_of_another_model_are_refused(
    weights: Mapping[str, Any], tmp_path: Path, name: str, value: object, said: str
) -> None:
    run = save(tmp_path / "run", weights, {**ALL, name: value})
    assert said in refusal(tmp_path, BrokenCheckpointError, run)


@pytest.mark.parametrize("name", ["num_attention_heads", "moe_router_topk"])
def test_what_tensors_do_not_tell_must_be_stated(
    weights: Mapping[str, Any], tmp_path: Path, name: str
) -> None:
    run = save(tmp_path / "run", weights, {**ALL, name: ...})
    assert f"do not state {name}" in refusal(tmp_path, UnsupportedCheckpointError, run)


def test_heads_that_do_not_share_the_hidden_size_are_refused(
    weights: Mapping[str, Any], tmp_path: Path
) -> None:
    run = save(tmp_path / "run", weights, {**ALL, "kv_channels": 16})
    assert "4 attention heads of width 16" in refusal(tmp_path, UnsupportedCheckpointError, run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one[:, :16], "(96, 16), where (96, 32) follows"),
        (lambda one: one.double(), "of type float64"),
    ],
)
def test_a_shape_or_type_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], said: str
) -> None:
    weights = model(layer())
    key = "decoder.layers.0.self_attention.linear_qkv.weight"
    weights[key] = change(weights[key]).clone()
    run = save(tmp_path / "run", weights, ARGUMENTS)
    assert said in refusal(tmp_path, UserError, run)


def test_a_pattern_that_deepseek_cannot_state_leads_to_the_other_layout(tmp_path: Path) -> None:
    run = save(tmp_path / "run", model(moe_layer(), layer()), {**ALL, "moe_layer_freq": [1, 0]})
    assert "--layout qwen2_moe" in refusal(tmp_path, UnsupportedCheckpointError, run)
    convert_flame_moe(run, tmp_path / "model", ConversionOptions(layout="qwen2_moe"))


def test_shared_experts_that_are_no_whole_number_lead_to_the_other_layout(tmp_path: Path) -> None:
    found = moe_layer()
    found["mlp.shared_experts.linear_fc1.weight"] = torch.randn(24, 32)
    found["mlp.shared_experts.linear_fc2.weight"] = torch.randn(32, 12)
    run = save(tmp_path / "run", model(found), ALL)
    assert "12 wide" in refusal(tmp_path, UnsupportedCheckpointError, run)


@pytest.mark.parametrize("option", [{"layout": "olmoe"}, {"dtype": "int8"}, {"iteration": -1}])
def test_options_that_are_not_known_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        ConversionOptions(**option)


def test_arguments_that_are_not_stated_are_assumed_and_named(
    weights: Mapping[str, Any], tmp_path: Path
) -> None:
    run = save(tmp_path / "run", weights, {**ALL, "swiglu": ..., "moe_router_pre_softmax": ...})
    summary = convert_flame_moe(run, tmp_path / "model", ConversionOptions())
    (note,) = (one for one in summary.notes if "do not state" in one)
    assert "moe_router_pre_softmax, swiglu: the values of FLAME-MoE were assumed" in note
