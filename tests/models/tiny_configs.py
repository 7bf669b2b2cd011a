"""Configurations of very small models: each with 8 experts of 32 x 24 in 2 layers."""

from __future__ import annotations

from typing import Any

from transformers import DeepseekV2Config, MixtralConfig, Qwen3MoeConfig, Qwen3VLMoeConfig

HIDDEN, INNER = 32, 24
EXPERT = 3 * HIDDEN * INNER  # gate, up and down projection
SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def qwen3_moe(**changes: Any) -> Qwen3MoeConfig:
    sizes = {**SIZES, "moe_intermediate_size": INNER, "num_hidden_layers": 2, "num_experts": 8}
    return Qwen3MoeConfig(**{**sizes, "num_experts_per_tok": 4, **changes})


def qwen3_vl_moe() -> Qwen3VLMoeConfig:
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16}
    return Qwen3VLMoeConfig(
        text_config=qwen3_moe().to_dict() | {"model_type": "qwen3_vl_moe_text"},
        vision_config={**vision, "out_hidden_size": HIDDEN, "deepstack_visual_indexes": [0]},
    )


def mixtral() -> MixtralConfig:
    sizes = {**SIZES, "intermediate_size": INNER}
    return MixtralConfig(**sizes, num_hidden_layers=2, num_local_experts=8, num_experts_per_tok=2)


def deepseek_v2(**changes: Any) -> DeepseekV2Config:
    """Return a model whose first layer is dense, with 2 shared experts and latent attention."""
    sizes = {
        **SIZES,
        "num_key_value_heads": 4,
        "moe_intermediate_size": INNER,
        "num_hidden_layers": 3,
        "first_k_dense_replace": 1,
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "kv_lora_rank": 16,
        "q_lora_rank": None,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    }
    return DeepseekV2Config(**{**sizes, **changes})
