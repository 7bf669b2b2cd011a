"""What a configuration alone tells about the experts of a model."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoConfig

from moe_eval_plugin.families import describe


@pytest.mark.parametrize(
    ("model_type", "changes", "experts", "k", "shared", "renormalises"),
    [
        ("qwen3_moe", {"norm_topk_prob": True}, 128, 8, 0, True),
        ("qwen3_moe", {"norm_topk_prob": False, "num_experts": 8}, 8, 8, 0, False),
        ("qwen2_moe", {"shared_expert_intermediate_size": 16}, 60, 4, 1, False),
        ("mixtral", {"num_local_experts": 16}, 16, 2, 0, True),
        ("deepseek_v2", {"n_routed_experts": 16, "num_experts_per_tok": 4}, 16, 4, 2, False),
        ("hunyuan_v1_moe", {"num_experts": 8, "moe_topk": [2, 3, 2]}, 8, 3, 0, None),
    ],
)
def test_moe_configurations(
    model_type: str,
    changes: dict[str, Any],
    experts: int,
    k: int,
    shared: int,
    renormalises: bool | None,
) -> None:
    found = describe(AutoConfig.for_model(model_type, **changes))
    assert found.is_moe
    assert (found.num_experts, found.num_experts_per_tok) == (experts, k)
    assert found.num_shared_experts == shared
    assert found.norm_topk_prob is renormalises


def test_the_text_part_of_a_composite_configuration_is_read() -> None:
    text = {"num_experts": 16, "num_experts_per_tok": 3}
    found = describe(AutoConfig.for_model("qwen3_vl_moe", text_config=text))
    assert (found.model_type, found.num_experts, found.num_experts_per_tok) == (
        "qwen3_vl_moe",
        16,
        3,
    )


def test_k_in_another_part_of_the_configuration_is_found() -> None:
    found = describe(
        AutoConfig.for_model("dbrx", ffn_config={"moe_num_experts": 8, "moe_top_k": 3})
    )
    assert (found.num_experts, found.num_experts_per_tok) == (8, 3)


@pytest.mark.parametrize("model_type", ["qwen3", "llama", "qwen3_vl"])
def test_a_dense_configuration_is_described_as_dense(model_type: str) -> None:
    found = describe(AutoConfig.for_model(model_type))
    assert not found.is_moe
    assert found.num_experts == 0


@pytest.mark.parametrize("model_type", ["phimoe", "zaya", "switch_transformers", "nllb-moe"])
def test_families_with_a_fixed_k_carry_the_reason(model_type: str) -> None:
    assert describe(AutoConfig.for_model(model_type)).fixed_k_reason
