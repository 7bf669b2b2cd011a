"""Read the arguments of a training run, and refuse a model that no layout can represent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UnsupportedCheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the arguments of Megatron-core 0.12, with which FLAME-MoE was trained, must be. Without a
# value in the checkpoint this one is used.
OF_EVERY_MODEL: Mapping[str, tuple[Any, ...]] = {
    "add_bias_linear": (False,),
    "add_qkv_bias": (False,),
    "apply_layernorm_1p": (False,),
    "multi_latent_attention": (False,),
    "no_rope_freq": (None,),
    "normalization": ("RMSNorm",),
    "position_embedding_type": ("rope",),
    "qk_layernorm": (False,),
    "rotary_interleaved": (False,),
    "rotary_percent": (1.0,),
    "rotary_seq_len_interpolation_factor": (None, 1),
    "squared_relu": (False,),
    "swiglu": (True,),
    "untie_embeddings_and_output_weights": (True,),
    "use_rope_scaling": (False,),
}
OF_ROUTERS: Mapping[str, tuple[Any, ...]] = {
    "moe_expert_capacity_factor": (None,),
    "moe_router_enable_expert_bias": (False,),
    "moe_router_group_topk": (None,),
    "moe_router_load_balancing_type": ("aux_loss", "seq_aux_loss", "none"),
    "moe_router_num_groups": (None,),
    "moe_router_pre_softmax": (True,),
    "moe_router_score_function": ("softmax",),
    "moe_router_topk_scaling_factor": (None, 1.0),
}
# Of other releases: they are checked where they are there, and nothing is missing without them.
OF_OTHER_RELEASES: Mapping[str, tuple[Any, ...]] = {
    "attention_output_gate": (False,),
    "activation_func_clamp_value": (None,),
    "glu_linear_offset": (0.0,),
    "heterogeneous_layers_config_path": (None,),
    "hybrid_override_pattern": (None,),
    "moe_apply_probs_on_input": (False,),
    "moe_latent_size": (None,),
    "moe_router_force_load_balancing": (False,),
    "moe_router_topk_limited_devices": (None,),
    "moe_shared_expert_gate": (False,),
    "mtp_num_layers": (None, 0),
    "quick_geglu": (False,),
    "softmax_type": ("vanilla",),
    "use_legacy_models": (False,),
    "window_size": (None,),
}
# Kept in the manifest besides those above.
OF_THE_RUN = (
    *("ffn_hidden_size", "group_query_attention", "hidden_size", "kv_channels"),
    *("max_position_embeddings", "moe_ffn_hidden_size", "moe_layer_freq", "moe_router_dtype"),
    *("moe_router_topk", "moe_shared_expert_intermediate_size", "norm_epsilon"),
    *("num_attention_heads", "num_experts", "num_layers", "num_query_groups"),
    *("padded_vocab_size", "params_dtype", "rotary_base", "seq_length", "tokenizer_model"),
    *("tokenizer_type", "train_iters", "transformer_impl"),
)


def check_arguments(arguments: Mapping[str, Any], *, has_experts: bool) -> tuple[str, ...]:
    """Return the names of arguments that the checkpoint does not state, so FLAME-MoE's are used.

    Raises ``UnsupportedCheckpointError`` for a value that no layout can represent.
    """
    needed = {**OF_EVERY_MODEL, **(OF_ROUTERS if has_experts else {})}
    for name, allowed in {**needed, **OF_OTHER_RELEASES}.items():
        if name in arguments and not _is_allowed(arguments[name], allowed):
            expected = " or ".join(map(repr, allowed))
            message = (
                f"The run was trained with {name}={arguments[name]!r:.80}, and only {expected} can "
                "be converted: another value would change what the model computes. Nothing was "
                "written."
            )
            raise UnsupportedCheckpointError(message)
    return tuple(sorted(name for name in needed if name not in arguments))


def kept_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that describe the model, for the manifest."""
    names = {*OF_EVERY_MODEL, *OF_ROUTERS, *OF_OTHER_RELEASES, *OF_THE_RUN}
    return {name: _plain(arguments[name]) for name in sorted(names) if name in arguments}


def whole_number(arguments: Mapping[str, Any], name: str) -> int | None:
    """Return an argument that counts something; ``None`` where it is not stated."""
    value = arguments.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise UnsupportedCheckpointError(_wrong(name, value, "a whole number from 1"))
    return value


def number(arguments: Mapping[str, Any], name: str, default: float) -> float:
    """Return an argument that is a positive number."""
    value = arguments.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UnsupportedCheckpointError(_wrong(name, value, "a positive number"))
    return float(value)


def moe_layers(arguments: Mapping[str, Any], n_layers: int) -> tuple[int, ...] | None:
    """Return the layers that ``moe_layer_freq`` gives experts; ``None`` where it is not stated.

    It is a list with 1 for each layer that has them, or n for every n-th layer, from the first.
    """
    pattern = arguments.get("moe_layer_freq")
    if pattern is None:
        return None
    if type(pattern) is int and pattern > 0:
        return tuple(range(0, n_layers, pattern))
    if isinstance(pattern, list | tuple) and len(pattern) == n_layers and {*pattern} <= {0, 1}:
        return tuple(n for n, is_moe in enumerate(pattern) if is_moe)
    expected = f"a whole number, or a list of {n_layers} zeros and ones"
    raise UnsupportedCheckpointError(_wrong("moe_layer_freq", pattern, expected))


def _is_allowed(value: object, allowed: tuple[Any, ...]) -> bool:
    if isinstance(value, list | tuple):
        # Newer releases have a list where several losses can be used together.
        return bool(value) and all(_is_allowed(one, allowed) for one in value)
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else str(value)


def _wrong(name: str, value: object, expected: str) -> str:
    return (
        f"The arguments of the run have {name}={value!r:.80}, where {expected} was expected. This "
        "is not a checkpoint of FLAME-MoE or its dense baselines."
    )
