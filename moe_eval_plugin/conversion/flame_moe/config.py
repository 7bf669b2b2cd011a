"""Write the configuration of a converted model: ``config.json`` and ``generation_config.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.conversion.flame_moe.targets import DEEPSEEK, LLAMA, QWEN2_MOE
from moe_eval_plugin.errors import UnsupportedCheckpointError

if TYPE_CHECKING:
    from moe_eval_plugin.conversion.flame_moe.model import FlameModel

# The id of <|endoftext|> in the tokenizer of pythia-12b, which ends a text and begins none.
END_OF_TEXT = 0
CLASSES = {
    LLAMA: "LlamaForCausalLM",
    DEEPSEEK: "DeepseekForCausalLM",
    QWEN2_MOE: "Qwen2MoeForCausalLM",
}


def model_config(model: FlameModel, layout: str, dtype: str, end: int) -> dict[str, Any]:
    """Return the configuration of a model in a layout; ``end`` is the id that ends a text.

    Raises ``UnsupportedCheckpointError`` for a model that this layout cannot represent.
    """
    found: dict[str, Any] = {
        "architectures": [CLASSES[layout]],
        "model_type": layout,
        "vocab_size": model.vocabulary,
        "hidden_size": model.hidden,
        "intermediate_size": model.dense_width or model.expert_width,
        "num_hidden_layers": model.n_layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.groups,
        "hidden_act": "silu",
        "max_position_embeddings": model.max_positions,
        "rms_norm_eps": model.epsilon,
        "rope_theta": model.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "tie_word_embeddings": False,
        "use_cache": True,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": dtype,
    }
    if layout == LLAMA:
        return {**found, "attention_bias": False, "mlp_bias": False}
    found |= {
        "moe_intermediate_size": model.expert_width,
        "num_experts_per_tok": model.k,
        "norm_topk_prob": False,
    }
    return {**found, **(_deepseek(model) if layout == DEEPSEEK else _qwen2_moe(model))}


def generation_config(end: int) -> dict[str, Any]:
    """Return the settings of generation: where a text ends."""
    return {"bos_token_id": end, "eos_token_id": end}


def _deepseek(model: FlameModel) -> dict[str, Any]:
    first = model.moe_layers[0]
    if model.moe_layers != tuple(range(first, model.n_layers)):
        message = (
            f"The layers with experts are {list(model.moe_layers)}, and in the layout {DEEPSEEK} "
            f"all layers after the first ones have experts. Use --layout {QWEN2_MOE}."
        )
        raise UnsupportedCheckpointError(message)
    if model.n_shared is None:
        message = (
            f"The shared experts are {model.shared_width} wide, which is no multiple of a routed "
            f"one's {model.expert_width}, as the layout {DEEPSEEK} needs. Use --layout {QWEN2_MOE}."
        )
        raise UnsupportedCheckpointError(message)
    return {
        "n_routed_experts": model.n_experts,
        "n_shared_experts": model.n_shared,
        "first_k_dense_replace": first,
        "moe_layer_freq": 1,
        "scoring_func": "softmax",
        "topk_method": "greedy",
        "n_group": 1,
        "topk_group": 1,
        "routed_scaling_factor": 1.0,
        "moe_router_dtype": "float32",
        "attention_bias": False,
    }


def _qwen2_moe(model: FlameModel) -> dict[str, Any]:
    return {
        "num_experts": model.n_experts,
        "shared_expert_intermediate_size": model.shared_width,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [n for n in range(model.n_layers) if n not in model.moe_layers],
        "qkv_bias": True,
    }
