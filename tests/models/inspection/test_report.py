"""The report on a model: its facts, its costs and its JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from transformers import (
    AutoModelForCausalLM,
    PretrainedConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    SwitchTransformersConfig,
)

from moe_eval_plugin.errors import ModelNotFoundError
from moe_eval_plugin.models.costs.cost_at_k import Scenario
from moe_eval_plugin.models.inspection.report import inspect_model
from moe_eval_plugin.testing import tiny_config
from tests.models.tiny_configs import EXPERT, deepseek_v2, qwen3_vl_moe

if TYPE_CHECKING:
    from pathlib import Path


SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


MOE: dict[str, Any] = {"moe_intermediate_size": 24, "num_experts": 12, "num_experts_per_tok": 5}


def saved(config: PretrainedConfig, folder: Path) -> str:
    config.save_pretrained(folder)
    return str(folder)


def test_routed_and_shared_experts_are_kept_apart(tmp_path: Path) -> None:
    report = inspect_model(saved(deepseek_v2(), tmp_path))
    assert (report.n_moe_layers, report.n_layers) == (2, 3)
    assert (report.num_experts, report.num_shared_experts) == (8, 2)
    assert (report.baseline_num_experts_per_tok, report.total_num_experts_per_tok) == (6, 8)
    assert [layer.is_moe for layer in report.layers] == [False, True, True]


@pytest.mark.parametrize(("flag", "word"), [(True, "always"), (False, "never")])
def test_renormalisation_follows_the_configuration(
    tmp_path: Path, *, flag: bool, word: str
) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1, norm_topk_prob=flag)
    assert inspect_model(saved(config, tmp_path)).renormalisation == word


def test_costs_at_each_k(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=2)
    report = inspect_model(saved(config, tmp_path))
    costs = {cost.num_experts_per_tok: cost for cost in report.costs}
    assert list(costs) == [1, 2, 3, 4, 5, 8, 12]
    assert costs[12].active_parameters == report.total_parameters
    assert costs[5].active_parameters - costs[4].active_parameters == 2 * EXPERT
    for phase in ("prefill", "decode"):
        flops = [getattr(costs[k], f"{phase}_flops_per_token") for k in (4, 5)]
        assert flops[1] - flops[0] == pytest.approx(2 * 2 * EXPERT, abs=1)
    assert costs[5].prefill_speedup_ceiling == 1


def test_ceilings_stop_at_the_baseline(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=2)
    costs = inspect_model(saved(config, tmp_path)).costs
    assert [cost.prefill_speedup_ceiling is None for cost in costs] == [False] * 5 + [True] * 2
    for cost in costs:
        is_above = [step.speedup_ceiling is None for step in cost.decode_steps]
        assert is_above == [cost.num_experts_per_tok > 5] * 3


def test_scenario_sets_batch_sizes_context_and_data_type(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=2, head_dim=8, dtype="float32")
    model = saved(config, tmp_path)
    usual = inspect_model(model)
    other = inspect_model(model, scenario=Scenario(64, (2,), "bfloat16"))
    assert [step.batch_size for step in usual.costs[0].decode_steps] == [1, 8, 64]
    assert [step.batch_size for step in other.costs[0].decode_steps] == [2]
    assert usual.kv_cache_bytes_per_token == 2 * 2 * 4 * 8 * 4
    assert usual.kv_cache_bytes_per_sequence == 1024 * 2 * 2 * 4 * 8 * 4
    assert other.kv_cache_bytes_per_sequence == 64 * 2 * 2 * 4 * 8 * 2
    assert usual.weights_memory_bytes == 4 * (usual.total_parameters or 0)
    assert other.weights_memory_bytes == 2 * (other.total_parameters or 0)
    assert (usual.routed_flop_share or 1) < (other.routed_flop_share or 0)


def test_bytes_are_unknown_without_a_data_type(tmp_path: Path) -> None:
    report = inspect_model(saved(Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1), tmp_path))
    assert (report.memory_dtype, report.weights_memory_bytes) == (None, None)
    step = report.costs[0].decode_steps[0]
    assert (step.least_bytes, step.most_bytes) == (None, None)
    assert step.speedup_ceiling is not None


def test_image_tower_is_estimated_per_patch_and_for_images_of_a_fixed_size(
    tmp_path: Path,
) -> None:
    config = qwen3_vl_moe()
    report = inspect_model(saved(config, tmp_path / "any"))
    assert report.image_flops_per_patch is not None
    assert report.image_flops_per_image is None
    config.vision_config.image_size, config.vision_config.patch_size = 64, 16
    fixed = inspect_model(saved(config, tmp_path / "fixed"))
    assert fixed.image_flops_per_patch is not None
    assert fixed.image_flops_per_image == 16 * fixed.image_flops_per_patch


def test_quantised_checkpoint_is_named(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1)
    config.quantization_config = {"quant_method": "fp8"}
    assert inspect_model(saved(config, tmp_path)).quantisation == "fp8"


def test_warnings_of_the_family_are_passed_on(tmp_path: Path) -> None:
    config = tiny_config("llama4_text", num_local_experts=8, interleave_moe_layer_step=1)
    assert "not the cost" in " ".join(inspect_model(saved(config, tmp_path)).warnings)


def test_no_gain_is_promised_where_all_experts_compute_every_token(tmp_path: Path) -> None:
    config = tiny_config("llama4_text", num_local_experts=8, num_experts_per_tok=4)
    report = inspect_model(saved(config, tmp_path))
    assert "saves nothing" in str(report.cost_unknown_reason)
    assert report.costs
    assert {cost.prefill_speedup_ceiling for cost in report.costs} == {None}
    assert not any(cost.decode_steps for cost in report.costs)


def test_dense_model_is_described_and_no_error(tmp_path: Path) -> None:
    report = inspect_model(saved(Qwen3Config(**SIZES, num_hidden_layers=1), tmp_path))
    assert (report.is_moe, report.n_moe_layers, report.costs) == (False, 0, ())
    assert [layer.is_moe for layer in report.layers] == [False]


def test_router_that_cannot_change_k_has_no_costs_to_compare(tmp_path: Path) -> None:
    config = SwitchTransformersConfig(
        vocab_size=64, d_model=32, d_ff=48, d_kv=8, num_heads=4, num_experts=4
    )
    report = inspect_model(saved(config, tmp_path))
    assert report.is_moe
    assert report.fixed_k_reason is not None
    assert len(report.costs) <= 1


def test_what_cannot_be_counted_is_unknown_with_its_reason(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1, hidden_act="no_such_activation")
    report = inspect_model(saved(config, tmp_path))
    assert (report.total_parameters, report.n_moe_layers) == (None, None)
    assert (report.costs, report.layers, report.routed_flop_share) == ((), (), None)
    assert "cannot build qwen3_moe" in str(report.parameters_unknown_reason)


def test_attention_of_unknown_shape_leaves_parameters_known(tmp_path: Path) -> None:
    report = inspect_model(saved(tiny_config("jetmoe", kv_channels=8), tmp_path))
    assert report.total_parameters is not None
    assert {cost.prefill_flops_per_token for cost in report.costs} == {None}
    assert "JetMoeAttention" in str(report.cost_unknown_reason)


def test_experts_that_were_not_found_leave_the_cost_unknown(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1, mlp_only_layers=[0])
    report = inspect_model(saved(config, tmp_path))
    assert report.is_moe
    assert report.routed_flop_share is None
    assert "No routed experts were found" in str(report.cost_unknown_reason)


def test_size_of_the_weight_files(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1)
    assert inspect_model(saved(config, tmp_path)).weights_bytes is None
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    report = inspect_model(str(tmp_path))
    assert report.weights_bytes == (tmp_path / "model.safetensors").stat().st_size


def test_report_survives_json(tmp_path: Path) -> None:
    report = inspect_model(saved(deepseek_v2(), tmp_path))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["schema_version"] == 1
    assert data["expert_modules"][0]["path"] == "model.layers.1.mlp.experts"
    assert data["layers"][0]["path"] == "model.layers.0"
    assert data["costs"][0]["decode_steps"][0]["batch_size"] == 1


def test_no_such_model() -> None:
    with pytest.raises(ModelNotFoundError):
        inspect_model("/no/such/folder")
