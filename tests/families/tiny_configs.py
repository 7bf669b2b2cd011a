"""Tiny configurations of every MoE family of transformers: 8 experts, k of 4, 2 layers.

Each line has only what its family needs besides ``COMMON``. A family is made of its text settings;
vision-language ones are in ``tiny_vision`` and have their text part from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.models.families import K_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from transformers import PretrainedConfig

Settings = Mapping[str, Any]

E = 8
K = 4
LOWERED = 2
RAISED = 6
VOCABULARY = 96

COMMON: Settings = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MLA: Settings = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
INDEXER: Settings = {"index_topk": 64, "index_n_heads": 2, "index_head_dim": 16}
EXPERTS: Settings = {"num_experts": E, "num_experts_per_tok": K}
LOCAL: Settings = {"num_local_experts": E, "num_experts_per_tok": K}
ROUTED: Settings = {"n_routed_experts": E, "num_experts_per_tok": K, "n_shared_experts": 1}
GROUPED: Settings = {**ROUTED, "n_group": 1, "topk_group": 1, "norm_topk_prob": True}
FIRST_DENSE: Settings = {"first_k_dense_replace": 1}
DENSE_SPARSE: Settings = {"mlp_layer_types": ["dense", "sparse"]}
ALL_SPARSE: Settings = {"mlp_layer_types": ["sparse", "sparse"]}
FULL: Settings = {"layer_types": ["full_attention", "full_attention"]}
SLIDING: Settings = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 64}
FULL_INDEXERS: Settings = {"indexer_types": ["full", "full"]}
MROPE: Settings = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
}
HALF_MROPE: Settings = {
    "rope_parameters": {**MROPE["rope_parameters"], "partial_rotary_factor": 1.0}
}
SHARED_16: Settings = {"shared_expert_intermediate_size": 16}
DOTS3: Settings = {**MLA, **GROUPED, **INDEXER, **DENSE_SPARSE, **FULL}
INKLING2: Settings = {
    **ROUTED,
    "layer_types": ["hybrid_sliding", "hybrid"],
    "unpadded_vocab_size": VOCABULARY,
    "sliding_window_size": 64,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "d_rel": 8,
    "rel_extent": 32,
    "n_layers_per_attn_res_block": 1,
}

TEXT: dict[str, Settings] = {
    "afmoe": {**EXPERTS, **SLIDING, "num_dense_layers": 1, "num_shared_experts": 1},
    "aria_text": {
        "moe_num_experts": E,
        "moe_topk": K,
        "moe_num_shared_experts": 1,
        "intermediate_size": 16,
    },
    "axk1": {**MLA, **GROUPED, **FIRST_DENSE},
    "axk2": {**MLA, **GROUPED, **DENSE_SPARSE, **INDEXER},
    "bailing_hybrid": {
        **MLA,
        **GROUPED,
        **DENSE_SPARSE,
        "num_local_experts": E,
        "layer_types": ["linear_attention", "full_attention"],
    },
    "beam": {**EXPERTS, **SLIDING, **DENSE_SPARSE, "n_group": 1, "topk_group": 1},
    "cohere2_moe": {**EXPERTS, **SLIDING, **ALL_SPARSE},
    "dbrx": {
        "d_model": 32,
        "n_heads": 4,
        "n_layers": 2,
        "max_seq_len": 128,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
        "ffn_config": {
            "ffn_hidden_size": 16,
            "hidden_size": 32,
            "moe_num_experts": E,
            "moe_top_k": K,
            "ffn_act_fn": {"name": "silu"},
            "moe_normalize_expert_weights": 1.0,
        },
    },
    "deepseek": {**ROUTED, **FIRST_DENSE},
    "deepseek_ocr2_text": {**GROUPED, **DENSE_SPARSE, "num_key_value_heads": 4},
    "deepseek_v2": {**MLA, **ROUTED, **FIRST_DENSE, "topk_method": "greedy"},
    "deepseek_v3": {**MLA, **GROUPED, **FIRST_DENSE},
    "deepseek_v32": {**MLA, **GROUPED, **DENSE_SPARSE, **INDEXER},
    "deepseek_v4": {
        **ROUTED,
        **INDEXER,
        "q_lora_rank": 16,
        "o_lora_rank": 16,
        "o_groups": 2,
        "head_dim": 16,
        "num_key_value_heads": 1,
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention"] * 2 + ["compressed_sparse_attention"],
        "mlp_layer_types": ["hash_moe", "moe", "moe"],
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
        "sliding_window": 16,
        "hc_mult": 2,
    },
    "diffusion_gemma_text": {
        **SLIDING,
        "num_experts": E,
        "top_k_experts": K,
        "global_head_dim": 8,
    },
    "doge": {"num_experts": 16, "num_experts_per_tok": K, "is_moe": True, "keep_window_size": 64},
    "dots1": {**GROUPED, **FIRST_DENSE, **FULL},
    "dots3_note_text": {**DOTS3, "shared_experts_intermediate_size": 16},
    "ernie4_5_moe": {
        "moe_k": K,
        "moe_num_experts": E,
        "moe_num_shared_experts": 1,
        "moe_layer_start_index": 0,
        "moe_layer_end_index": 1,
    },
    "ernie4_5_vl_moe_text": {
        **ALL_SPARSE,
        **HALF_MROPE,
        "moe_k": K,
        "moe_num_experts": E,
        "moe_num_shared_experts": 1,
        "moe_intermediate_size": [16, 16],
    },
    "exaone_moe": {**EXPERTS, **SLIDING, **DENSE_SPARSE, "num_shared_experts": 1},
    "flex_olmo": EXPERTS,
    "flint": {**EXPERTS, **SLIDING, **SHARED_16, "mlp_only_layers": [0]},
    "gemma4_text": {
        **SLIDING,
        "num_experts": E,
        "top_k_experts": K,
        "enable_moe_block": True,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": VOCABULARY,
        "global_head_dim": 8,
        "num_kv_shared_layers": 0,
    },
    "glm4_moe": {**GROUPED, **FIRST_DENSE},
    "glm4_moe_lite": {**MLA, **GROUPED, **DENSE_SPARSE},
    "glm4v_moe_text": {**GROUPED, **FIRST_DENSE, **HALF_MROPE},
    "glm5_next_text": {
        **MLA,
        **GROUPED,
        **DENSE_SPARSE,
        **INDEXER,
        **FULL_INDEXERS,
        "layer_types": ["full_attention", "full_attention"],
        "qk_rope_head_dim": 0,
        "index_kpool": 4,
    },
    "glm_moe_dsa": {**MLA, **GROUPED, **DENSE_SPARSE, **INDEXER, **FULL_INDEXERS},
    "gpt_oss": {**LOCAL, **SLIDING, "intermediate_size": 32},
    "granitemoe": LOCAL,
    "granitemoe_swa": LOCAL,
    "granitemoehybrid": {
        **LOCAL,
        "layer_types": ["attention", "attention"],
        "shared_intermediate_size": 16,
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_expand": 2,
        "mamba_d_state": 8,
    },
    "granitemoeshared": {**LOCAL, "shared_intermediate_size": 16},
    "hunyuan_v1_moe": {"num_experts": E, "moe_topk": [K, K], "intermediate_size": 16},
    "hy_v3": {**EXPERTS, **DENSE_SPARSE, "num_shared_experts": 1},
    "hy_v4": {**MLA, **GROUPED, **DENSE_SPARSE, **INDEXER, **FULL_INDEXERS},
    "hy_v4_vl_text": {
        **MLA,
        **GROUPED,
        **DENSE_SPARSE,
        **INDEXER,
        **FULL_INDEXERS,
        **MROPE,
    },
    # The second layer runs twice in a forward pass.
    "inkling2_loop_text": {
        **INKLING2,
        "loop_layer_index_start": 1,
        "loop_layer_index_end": 2,
        "loop_num_passes": 2,
        "loop_gate_rank": 8,
    },
    "inkling2_text": INKLING2,
    "inkling_text": {
        **ROUTED,
        **SLIDING,
        **ALL_SPARSE,
        "n_shared_experts": 2,
        "unpadded_vocab_size": VOCABULARY,
        "dense_intermediate_size": 32,
        "d_rel": 8,
        "rel_extent": 32,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 8,
    },
    "jamba": {
        **EXPERTS,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 1,
        "expert_layer_offset": 0,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "jetmoe": {**LOCAL, "kv_channels": 8},
    "kimi_linear": {
        **MLA,
        **DENSE_SPARSE,
        **FULL,
        "num_experts": E,
        "num_experts_per_token": K,
        "num_shared_experts": 1,
    },
    "kolibri1": {**EXPERTS, **SLIDING, **SHARED_16},
    "laguna": {
        **EXPERTS,
        **DENSE_SPARSE,
        **FULL,
        **SHARED_16,
        "num_attention_heads_per_layer": [4, 4],
    },
    "lara_mini": {
        **EXPERTS,
        **SHARED_16,
        "layer_types": ["linear_attention", "sliding_attention"],
        "sliding_window": 64,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    },
    "lfm2_moe": {**EXPERTS, **FULL, "num_dense_layers": 1},
    "llama4_text": {**LOCAL, "intermediate_size_mlp": 32, "interleave_moe_layer_step": 1},
    "longcat_flash": {
        **MLA,
        "n_routed_experts": E,
        "moe_topk": K,
        "zero_expert_num": 4,
        "expert_ffn_hidden_size": 16,
        "ffn_hidden_size": 32,
        "num_layers": 2,
    },
    "mellum": {**EXPERTS, **ALL_SPARSE, **FULL},
    "mimo_v2_flash": {**GROUPED, **DENSE_SPARSE, **FULL, "v_head_dim": 8},
    "minimax": {
        **LOCAL,
        "layer_types": ["full_attention", "linear_attention"],
        "block_size": 16,
    },
    "minimax_m2": LOCAL,
    "minimax_m3_vl_text": {
        **LOCAL,
        **DENSE_SPARSE,
        "shared_intermediate_size": 16,
        "dense_intermediate_size": 32,
        "index_head_dim": 8,
        "index_n_heads": 2,
    },
    "mistral4": {**MLA, **GROUPED, "first_k_dense_replace": 0},
    "mistral_large4_text": {
        **MLA,
        **GROUPED,
        **FIRST_DENSE,
        **INDEXER,
        **FULL_INDEXERS,
    },
    "mixtral": LOCAL,
    "muse_spark_text": {**LOCAL, **SLIDING, **DENSE_SPARSE, "moe_hidden_size": 16},
    "nemotron_h": {
        **GROUPED,
        "layers_block_type": ["attention", "moe"],
        "moe_shared_expert_intermediate_size": 16,
    },
    "olmoe": EXPERTS,
    "openai_privacy_filter": {**LOCAL, "sliding_window": 64},
    "qwen2_moe": {**EXPERTS, **SHARED_16},
    "qwen3_5_moe_text": {**EXPERTS, **SHARED_16, **FULL, **HALF_MROPE},
    "qwen3_moe": {
        **EXPERTS,
        "norm_topk_prob": True,
        "num_hidden_layers": 3,
        "mlp_only_layers": [1],
    },
    "qwen3_next": {**EXPERTS, **SHARED_16, **FULL},
    "qwen3_omni_moe_text": {**EXPERTS, **MROPE, "norm_topk_prob": True},
    "qwen3_vl_moe_text": {**EXPERTS, **MROPE},
    "qwen4_exp_text": {
        **EXPERTS,
        **SHARED_16,
        **HALF_MROPE,
        "layer_types": ["linear_attention", "indexed_attention"],
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 32,
        "indexer_compress_ratio": 4,
    },
    "sarvam_mla": {**MLA, **GROUPED, **FIRST_DENSE},
    "sarvam_moe": {**GROUPED, **FIRST_DENSE},
    "solar_open": {**GROUPED, **DENSE_SPARSE},
    "step3p5": {
        **ROUTED,
        **DENSE_SPARSE,
        **FULL,
        "share_expert_dim": 16,
        "share_expert_intermediate_size": 16,
        "sliding_window": 64,
    },
    "unlimited_ocr_text": {**GROUPED, **DENSE_SPARSE, "num_key_value_heads": 4},
}
# What COMMON says and these families cannot take.
WITHOUT: dict[str, tuple[str, ...]] = {
    "dbrx": tuple(key for key in COMMON if not key.endswith("_id") and key != "vocab_size"),
    "jetmoe": ("head_dim",),
    "longcat_flash": ("num_hidden_layers",),
    "mistral4": ("head_dim",),
    "nemotron_h": ("num_hidden_layers",),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One family: a tiny configuration at any k, and the inputs of its model."""

    id: str
    """Name of the case."""
    text_type: str
    """Key of the text settings in ``TEXT``."""
    model_type: str
    """Model type of the whole configuration."""
    whole: Settings | None = None
    """Settings of a composite model besides ``text_config``; ``None`` for a text model."""
    image: Callable[[], dict[str, Tensor]] | None = None
    """Return the picture as arguments of the model's forward."""
    n_image_tokens: int = 0
    """Number of tokens that represent the picture."""

    @property
    def smallest_k(self) -> int:
        """The smallest k that the code of transformers runs with."""
        # With one expert per token longcat_flash drops a dimension too many and raises ValueError.
        return 2 if self.text_type == "longcat_flash" else 1

    def config(self, k: int | None = None, **changes: Any) -> PretrainedConfig:
        """Return the configuration, at the family's k of 4 or another one.

        ``changes`` are other settings of the text model.
        """
        from transformers import AutoConfig

        text = text_settings(self.text_type, k) | changes
        if self.whole is None:
            return AutoConfig.for_model(self.model_type, **text)
        text["model_type"] = self.text_type
        return AutoConfig.for_model(self.model_type, text_config=text, **self.whole)


def text_settings(text_type: str, k: int | None = None) -> dict[str, Any]:
    """Return the settings of a text model, with ``k`` under every key for it."""
    common = {key: value for key, value in COMMON.items() if key not in WITHOUT.get(text_type, ())}
    settings = {**common, **TEXT[text_type]}
    return settings if k is None else _with_k(settings, k)


def _with_k(settings: Settings, k: int) -> dict[str, Any]:
    changed = dict(settings)
    for key, value in settings.items():
        if key in K_KEYS:
            changed[key] = [k] * len(value) if isinstance(value, list) else k
        elif key == "ffn_config":
            changed[key] = _with_k(value, k)
    return changed


TEXT_CASES = tuple(
    Case(id=name, text_type=name, model_type=name)
    for name in TEXT
    # These are a part of a vision-language model only.
    if name
    not in {
        "deepseek_ocr2_text",
        "diffusion_gemma_text",
        "dots3_note_text",
        "ernie4_5_vl_moe_text",
        "glm4v_moe_text",
        "glm5_next_text",
        "hy_v4_vl_text",
        "inkling2_loop_text",
        "inkling2_text",
        "mistral4",
        "mistral_large4_text",
        "muse_spark_text",
        "qwen3_omni_moe_text",
        "qwen3_vl_moe_text",
        "step3p5",
        "unlimited_ocr_text",
    }
)
