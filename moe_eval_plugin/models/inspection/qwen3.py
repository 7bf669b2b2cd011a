"""Compute what the modules of a Qwen3 MoE model would show, from the text of its configuration.

Building the modules takes seconds, nearly all of them for importing torch and transformers; these
families are what most sweeps are about. Only a configuration that states every size is accepted.
The tests compare everything with the built modules.
"""

from __future__ import annotations

from math import prod
from typing import Any

from moe_eval_plugin.models.architecture import Architecture, decoder_layer
from moe_eval_plugin.models.costs.cost_model import AttentionShape, LanguageModelCost, RoutedLayer
from moe_eval_plugin.models.inspection.parts import ModelParts
from moe_eval_plugin.models.moe_layers import MATRIX
from moe_eval_plugin.models.parameters import ParameterCounts, RoutedParameters

# Path of the decoder in the model, by model type.
DECODERS = {"qwen3_moe": "model.", "qwen3_vl_moe": "model.language_model."}
TEXT_SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size", "head_dim"),
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "decoder_sparse_step"),
)
IMAGE_SIZES = (
    *("depth", "hidden_size", "intermediate_size", "out_hidden_size", "in_channels", "patch_size"),
    *("temporal_patch_size", "spatial_merge_size", "num_position_embeddings"),
)
EXPERTS, EMBEDDING, POSITIONS = "mlp.experts", "embed_tokens.weight", "pos_embed.weight"

Shapes = dict[str, tuple[int, ...]]


def stated_parts(config: Any, num_experts: int) -> ModelParts | None:  # noqa: ANN401  (parts of a JSON object)
    """Return what the modules of a model would show; ``None`` where its sizes are not all stated.

    ``config`` has the values of ``config.json`` as attributes, those of its parts too.
    """
    prefix = DECODERS.get(config.model_type)
    text = config.get_text_config()
    if prefix is None or not _is_plain(config, text):
        return None
    image: Shapes = {}
    if config.model_type == "qwen3_vl_moe":
        vision = getattr(config, "vision_config", None)
        if not _is_plain_tower(vision):
            return None
        image = _image_shapes(vision)
    return _parts(text, num_experts, prefix, image, is_tied=config.tie_word_embeddings)


def _is_plain(config: Any, text: Any) -> bool:  # noqa: ANN401
    """Whether the sizes of the language model are stated, and nothing changes its modules."""
    tied = getattr(config, "tie_word_embeddings", None)
    return (
        _states(text, TEXT_SIZES)
        and isinstance(tied, bool)
        and getattr(text, "tie_word_embeddings", tied) is tied
        and isinstance(getattr(text, "attention_bias", None), bool)
        and _is_list_of_numbers(getattr(text, "mlp_only_layers", None))
        and not getattr(text, "use_sliding_window", False)
        and getattr(text, "hidden_act", None) == "silu"
    )


def _is_plain_tower(vision: Any) -> bool:  # noqa: ANN401
    """Whether the sizes of the image tower are stated, and its activation is the usual one."""
    return (
        _states(vision, IMAGE_SIZES)
        and _is_list_of_numbers(getattr(vision, "deepstack_visual_indexes", None))
        and getattr(vision, "hidden_act", None) == "gelu_pytorch_tanh"
    )


def _states(part: Any, names: tuple[str, ...]) -> bool:  # noqa: ANN401
    values = [getattr(part, name, None) for name in names]
    return all(type(value) is int and value > 0 for value in values)


def _is_list_of_numbers(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list) and all(type(one) is int for one in value)


def _parts(
    text: Any,  # noqa: ANN401
    num_experts: int,
    prefix: str,
    image: Shapes,
    *,
    is_tied: bool,
) -> ModelParts | None:
    layers = [_layer_shapes(text, number, num_experts) for number in range(text.num_hidden_layers)]
    routed = tuple(
        RoutedParameters(
            path=f"{prefix}layers.{number}.{EXPERTS}",
            num_experts=num_experts,
            routed_parameters=_count(_experts(shapes)),
            parameters_per_expert=_count(_experts(shapes)) // num_experts,
        )
        for number, shapes in enumerate(layers)
        if _experts(shapes)
    )
    if not routed:
        return None
    head = text.vocab_size * text.hidden_size
    rest = head * (1 if is_tied else 2) + text.hidden_size + _count(image)
    n_routed = sum(layer.routed_parameters for layer in routed)
    counts = ParameterCounts(rest + sum(map(_count, layers)), n_routed, routed)
    cost = LanguageModelCost(
        matrix_parameters=sum(map(_matrices, layers)) - n_routed,
        head_parameters=head,
        routed_layers=tuple(
            RoutedLayer(layer.num_experts, layer.parameters_per_expert) for layer in routed
        ),
        attentions=(_attention(text),) * len(layers),
    )
    decoder_layers = tuple(
        decoder_layer(
            number,
            f"{prefix}layers.{number}",
            {name: prod(shape) for name, shape in shapes.items()},
            routed,
        )
        for number, shapes in enumerate(layers)
    )
    tower = _matrices(image) if image else None
    return ModelParts(counts, None, Architecture(decoder_layers, cost, None, tower), cost)


def _attention(text: Any) -> AttentionShape:  # noqa: ANN401
    values = text.num_attention_heads * text.head_dim
    return AttentionShape(values, values, 2 * text.num_key_value_heads * text.head_dim)


def _layer_shapes(text: Any, number: int, num_experts: int) -> Shapes:  # noqa: ANN401
    """Return the shape of each parameter of a decoder layer, by its path in the layer."""
    width, head = text.hidden_size, text.head_dim
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    sizes = {"q_proj": (queries, width), "k_proj": (keys, width), "v_proj": (keys, width)}
    attention = {**sizes, "o_proj": (width, queries)}
    shapes: Shapes = {f"self_attn.{name}.weight": shape for name, shape in attention.items()}
    if text.attention_bias:
        shapes |= {f"self_attn.{name}.bias": shape[:1] for name, shape in attention.items()}
    shapes |= {f"self_attn.{name}_norm.weight": (head,) for name in "qk"}
    shapes |= {f"{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    is_dense = number in text.mlp_only_layers or (number + 1) % text.decoder_sparse_step
    if is_dense:
        inner = text.intermediate_size
        shapes |= {f"mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        return {**shapes, "mlp.down_proj.weight": (width, inner)}
    inner = text.moe_intermediate_size
    return {
        **shapes,
        "mlp.gate.weight": (num_experts, width),
        f"{EXPERTS}.gate_up_proj": (num_experts, 2 * inner, width),
        f"{EXPERTS}.down_proj": (num_experts, width, inner),
    }


def _image_shapes(vision: Any) -> Shapes:  # noqa: ANN401
    """Return the shape of each parameter of the image tower, by its path in the tower."""
    width, patch = vision.hidden_size, vision.patch_size
    cube = (vision.in_channels, vision.temporal_patch_size, patch, patch)
    shapes: Shapes = {POSITIONS: (vision.num_position_embeddings, width)}
    shapes |= _linear("patch_embed.proj", (width, *cube))
    merged = width * vision.spatial_merge_size**2
    for number in range(vision.depth):
        block = f"blocks.{number}"
        shapes |= {**_norm(f"{block}.norm1", width), **_norm(f"{block}.norm2", width)}
        shapes |= _linear(f"{block}.attn.qkv", (3 * width, width))
        shapes |= _linear(f"{block}.attn.proj", (width, width))
        shapes |= _linear(f"{block}.mlp.linear_fc1", (vision.intermediate_size, width))
        shapes |= _linear(f"{block}.mlp.linear_fc2", (width, vision.intermediate_size))
    n_deep = len(vision.deepstack_visual_indexes)
    for merger in ("merger", *(f"deepstack_merger_list.{number}" for number in range(n_deep))):
        shapes |= _norm(f"{merger}.norm", width if merger == "merger" else merged)
        shapes |= _linear(f"{merger}.linear_fc1", (merged, merged))
        shapes |= _linear(f"{merger}.linear_fc2", (vision.out_hidden_size, merged))
    return shapes


def _linear(path: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{path}.weight": shape, f"{path}.bias": shape[:1]}


def _norm(path: str, width: int) -> Shapes:
    return {f"{path}.weight": (width,), f"{path}.bias": (width,)}


def _experts(shapes: Shapes) -> Shapes:
    return {name: shape for name, shape in shapes.items() if name.startswith(f"{EXPERTS}.")}


def _count(shapes: Shapes) -> int:
    return sum(map(prod, shapes.values()))


def _matrices(shapes: Shapes) -> int:
    """Return the number of parameters of all matrices, without the table of positions."""
    return sum(
        prod(shape) for name, shape in shapes.items() if len(shape) >= MATRIX and name != POSITIONS
    )
