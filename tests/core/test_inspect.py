"""The report on a model: its facts, its text and its JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from transformers import (
    AutoModelForCausalLM,
    DeepseekV2Config,
    PretrainedConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    SwitchTransformersConfig,
)

from moe_eval_plugin.errors import ModelNotFoundError
from moe_eval_plugin.inspect import count_text, inspect_model, k_values, render

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


def deepseek_v2() -> DeepseekV2Config:
    return DeepseekV2Config(
        **SIZES,
        moe_intermediate_size=24,
        num_hidden_layers=3,
        first_k_dense_replace=1,
        n_routed_experts=8,
        n_shared_experts=2,
        num_experts_per_tok=6,
        kv_lora_rank=16,
        q_lora_rank=None,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    )


def saved(config: PretrainedConfig, folder: Path) -> str:
    config.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("baseline", "num_experts", "ks"),
    [
        (8, 128, [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128]),
        (2, 6, [1, 2, 4, 6]),
        (6, 7, [1, 2, 3, 4, 5, 6, 7]),
        (1, 2, [1, 2]),
    ],
)
def test_the_ks_worth_showing(baseline: int, num_experts: int, ks: list[int]) -> None:
    assert k_values(baseline, num_experts) == ks


@pytest.mark.parametrize(
    ("n", "text"), [(999_999, "999,999"), (1_000_000, "1.00 M"), (30_532_122_624, "30.53 B")]
)
def test_parameters_are_written_by_size(n: int, text: str) -> None:
    assert count_text(n) == text


def test_routed_and_shared_experts_are_kept_apart(tmp_path: Path) -> None:
    report = inspect_model(saved(deepseek_v2(), tmp_path))
    assert (report.n_moe_layers, report.n_layers) == (2, 3)
    assert (report.num_experts, report.num_shared_experts) == (8, 2)
    assert (report.baseline_num_experts_per_tok, report.total_num_experts_per_tok) == (6, 8)
    text = render(report)
    assert "6 routed + 2 shared = 8" in text
    assert "2 of 3 (model.layers.1.mlp.experts, model.layers.2.mlp.experts)" in text
    assert "never: " in text
    assert "norm of the routed output falls too" in text


@pytest.mark.parametrize(("flag", "word"), [(True, "always"), (False, "never")])
def test_renormalisation_follows_the_configuration(
    tmp_path: Path, *, flag: bool, word: str
) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1, norm_topk_prob=flag)
    assert inspect_model(saved(config, tmp_path)).renormalisation == word


def test_active_parameters_at_each_k(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=2)
    report = inspect_model(saved(config, tmp_path))
    active = {row.num_experts_per_tok: row.parameters for row in report.active_parameters}
    assert list(active) == [1, 2, 3, 4, 5, 8, 12]
    assert active[12] == report.total_parameters
    assert active[5] - active[4] == 2 * 3 * 32 * 24
    rows = [line.split() for line in render(report).splitlines() if line.endswith("baseline")]
    assert [row[0] for row in rows] == ["5"]


def test_dense_model_is_described_and_no_error(tmp_path: Path) -> None:
    report = inspect_model(saved(Qwen3Config(**SIZES, num_hidden_layers=1), tmp_path))
    assert (report.is_moe, report.n_moe_layers, report.active_parameters) == (False, 0, ())
    assert "dense model" in render(report)
    assert "k routed" not in render(report)


def test_router_that_cannot_change_k_is_named(tmp_path: Path) -> None:
    config = SwitchTransformersConfig(
        vocab_size=64, d_model=32, d_ff=48, d_kv=8, num_heads=4, num_experts=4
    )
    report = inspect_model(saved(config, tmp_path))
    assert report.is_moe
    assert "no: its router takes the single best expert" in render(report)
    assert report.active_parameters == ()


def test_what_cannot_be_counted_is_unknown_with_its_reason(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1, hidden_act="no_such_activation")
    report = inspect_model(saved(config, tmp_path))
    assert (report.total_parameters, report.n_moe_layers) == (None, None)
    assert "not known: transformers" in render(report)


def test_size_of_the_weight_files(tmp_path: Path) -> None:
    config = Qwen3MoeConfig(**SIZES, **MOE, num_hidden_layers=1)
    assert inspect_model(saved(config, tmp_path)).weights_bytes is None
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    report = inspect_model(str(tmp_path))
    assert report.weights_bytes == (tmp_path / "model.safetensors").stat().st_size
    assert f"{report.weights_bytes / 1024**2:.1f} MiB (float32)" in render(report)


def test_report_survives_json(tmp_path: Path) -> None:
    report = inspect_model(saved(deepseek_v2(), tmp_path))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["schema_version"] == 1
    assert data["layers"][0]["path"] == "model.layers.1.mlp.experts"
    assert data["active_parameters"][0]["num_experts_per_tok"] == 1


def test_no_such_model() -> None:
    with pytest.raises(ModelNotFoundError):
        inspect_model("/no/such/folder")
