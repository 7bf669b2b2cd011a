"""Parameters of each decoder layer by part (attention, router, ...), and the image tower.

All is read from the modules of a model that was built without weights. The families of
transformers name these parts in the same few ways; where a model names a part otherwise, it is
unknown, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.costs.cost_model import AttentionShape, LanguageModelCost, RoutedLayer
from moe_eval_plugin.models.moe_layers import MATRIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from moe_eval_plugin.models.parameters import RoutedParameters

Part = Literal["routed", "attention", "shared", "router", "other"]

ATTENTION_CLASS = re.compile(r"(?<!Lightning)(?<!Delta)Attention$|MLA$")
# These mix positions through a state of fixed size, so they keep no keys and compute no scores.
STATE_CLASS = re.compile(r"Mamba|DeltaNet|Lightning|DeltaAttention|ShortConv")
ATTENTION_NAME = re.compile(r"attn|attention|mamba|mixer|conv")
SHARED_NAME = re.compile(r"shared")
# A norm lies in the layer itself: its name, and that of its weight.
NORM_PATH_PARTS = 2
ROUTER_NAME = re.compile(r"gate|.*router.*|.*e_score_correction_bias")
OUTPUT_NAMES = ("o_proj", "out_proj")
IMAGE_NAME = re.compile(r"vision|image")
FUSED_NAMES = ("qkv_proj", "Wqkv", "query_key_value")


@dataclass(frozen=True)
class DecoderLayer:
    """The parameters of one decoder layer, by part."""

    number: int
    """Number of the layer, from 0."""
    path: str
    """Path of the layer in the model."""
    parameters: int
    """All parameters of the layer: the sum of the parts."""
    attention_parameters: int
    """Parameters of whatever mixes positions, state spaces included."""
    router_parameters: int
    """Parameters of the routers."""
    num_experts: int
    """Routed experts of the layer; 0 for a dense layer."""
    parameters_per_expert: int
    """Parameters that one more expert per token brings in."""
    routed_parameters: int
    """Parameters of all routed experts."""
    shared_expert_parameters: int
    """Parameters of the shared experts."""
    other_parameters: int
    """Parameters of a dense MLP and of norms."""

    @property
    def is_moe(self) -> bool:
        """Whether the layer has routed experts."""
        return self.num_experts > 0


@dataclass(frozen=True)
class Architecture:
    """The language model of a model: its decoder layers, their cost, and the image tower.

    ``cost`` is ``None`` where it is unknown, for the reason in ``cost_unknown_reason``.
    ``image_matrix_parameters`` is ``None`` for a model without an image tower.
    """

    layers: tuple[DecoderLayer, ...]
    cost: LanguageModelCost | None
    cost_unknown_reason: str | None
    image_matrix_parameters: int | None


def read_architecture(model: nn.Module, moe_layers: Sequence[RoutedParameters]) -> Architecture:
    """Return the decoder layers of a model, their cost and the size of its image tower.

    ``moe_layers`` are the modules with routed experts, as ``parameters`` counted them. Raises
    ``UserError`` for a model that does not expose its decoder.
    """
    decoder_path, decoder = decoder_of(model)
    stack_path, stack = layer_stack(decoder)
    prefix = f"{decoder_path}.{stack_path}".strip(".")
    layers = tuple(
        decoder_layer(
            i, f"{prefix}.{i}", {n: p.numel() for n, p in layer.named_parameters()}, moe_layers
        )
        for i, layer in enumerate(stack)
    )
    try:
        cost, reason = _cost(model, decoder, f"{prefix}.", stack, moe_layers), None
    except UserError as error:
        cost, reason = None, str(error)
    tower = image_tower(model)
    image_parameters = None if tower is None else matrix_parameters(tower)
    return Architecture(layers, cost, reason, image_parameters)


def decoder_of(model: nn.Module) -> tuple[str, nn.Module]:
    """Return path and module of a model's decoder; ``UserError`` if it is not exposed."""
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else None
    for path, module in model.named_modules():
        if decoder is not None and module is decoder:
            return path, module
    message = f"{type(model).__name__} does not expose which of its parts is the decoder."
    raise UserError(message)


def layer_stack(decoder: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return path and list of the decoder layers, with the most parameters; or ``UserError``."""
    from torch import nn

    stacks = [
        (sum(p.numel() for p in module.parameters()), path, module)
        for path, module in decoder.named_modules()
        if isinstance(module, nn.ModuleList)
    ]
    if not stacks:
        message = f"{type(decoder).__name__} has no list of decoder layers."
        raise UserError(message)
    _, path, stack = max(stacks, key=lambda found: found[0])
    return path, stack


def decoder_layer(
    number: int, path: str, parameters: Mapping[str, int], moe_layers: Sequence[RoutedParameters]
) -> DecoderLayer:
    """Return the parameters of one decoder layer by part, from the size of each by its name."""
    experts = [moe for moe in moe_layers if moe.path.startswith(f"{path}.")]
    (routed,) = _routed_layers(experts, f"{path.rpartition('.')[0]}.") or (RoutedLayer(0, 0),)
    inside = tuple(f"{moe.path}.".removeprefix(f"{path}.") for moe in experts)
    sizes: Counter[Part] = Counter()
    for name, size in parameters.items():
        sizes[_part(name, inside)] += size
    return DecoderLayer(
        number=number,
        path=path,
        parameters=sizes.total(),
        attention_parameters=sizes["attention"],
        router_parameters=sizes["router"],
        num_experts=routed.num_experts,
        parameters_per_expert=routed.parameters_per_expert,
        routed_parameters=sizes["routed"],
        shared_expert_parameters=sizes["shared"],
        other_parameters=sizes["other"],
    )


def _part(name: str, experts: tuple[str, ...]) -> Part:
    """Return the part of a decoder layer that a parameter belongs to, by the names on its path."""
    parts = name.split(".")
    if name.startswith(experts):
        return "routed"
    if any(SHARED_NAME.search(part) for part in parts):
        return "shared"
    if any(ROUTER_NAME.fullmatch(part) for part in parts):
        return "router"
    # Norms before and after the attention have its name too (post_attention_layernorm).
    is_norm = "norm" in parts[0] and len(parts) <= NORM_PATH_PARTS
    return "attention" if ATTENTION_NAME.search(name) and not is_norm else "other"


def _cost(
    model: nn.Module,
    decoder: nn.Module,
    prefix: str,
    stack: nn.ModuleList,
    moe_layers: Sequence[RoutedParameters],
) -> LanguageModelCost:
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        message = "The cost of an encoder with a decoder is not computed."
        raise UserError(message)
    head = getattr(model, "get_output_embeddings", lambda: None)()
    head_parameters = matrix_parameters(head) if head is not None else 0
    is_inside = any(module is head for module in decoder.modules())
    inside = [moe for moe in moe_layers if moe.path.startswith(prefix)]
    routed = sum(matrix_parameters(model.get_submodule(moe.path)) for moe in inside)
    return LanguageModelCost(
        matrix_parameters=matrix_parameters(decoder) - head_parameters * is_inside - routed,
        head_parameters=head_parameters,
        routed_layers=_routed_layers(inside, prefix),
        attentions=tuple(_attention_shapes(stack)),
    )


def matrix_parameters(module: nn.Module) -> int:
    """Return the number of parameters of all matrices in a module, without embedding tables.

    A matrix that two modules share counts twice, because both multiply with it.
    """
    from torch import nn

    return sum(
        parameter.numel()
        for part in module.modules()
        if not isinstance(part, nn.Embedding)
        for parameter in part.parameters(recurse=False)
        if parameter.dim() >= MATRIX
    )


def _routed_layers(moe_layers: Sequence[RoutedParameters], prefix: str) -> tuple[RoutedLayer, ...]:
    """Return the sum of the modules with routed experts for text, for each decoder layer."""
    by_layer: dict[str, list[RoutedParameters]] = {}
    for moe in moe_layers:
        number = moe.path.removeprefix(prefix).partition(".")[0]
        if not IMAGE_NAME.search(moe.path.removeprefix(prefix)):
            by_layer.setdefault(number, []).append(moe)
    return tuple(
        RoutedLayer(
            num_experts=max(moe.num_experts for moe in found),
            parameters_per_expert=sum(moe.parameters_per_expert for moe in found),
        )
        for found in by_layer.values()
    )


def _attention_shapes(stack: nn.ModuleList) -> Iterator[AttentionShape]:
    """Yield the sizes of every attention module with a key-value cache, layer by layer."""
    for number, layer in enumerate(stack):
        classes = [type(module).__name__ for module in layer.modules()]
        shapes = [
            _attention_shape(number, module)
            for module in layer.modules()
            if ATTENTION_CLASS.search(type(module).__name__)
        ]
        names = [name for name, _ in layer.named_children() if "norm" not in name]
        has_attention = any("attn" in name or "attention" in name for name in names)
        if has_attention and not shapes and not any(STATE_CLASS.search(name) for name in classes):
            raise UserError(_unknown_attention(number, layer))
        yield from shapes


def _attention_shape(number: int, module: nn.Module) -> AttentionShape:
    """Return the sizes of an attention module, read from its projections.

    Multi-head latent attention caches one latent vector instead of keys and values.
    """
    linear = _linear_layers(module)
    output = next((linear[name] for name in OUTPUT_NAMES if name in linear), None)
    if output is None:
        raise UserError(_unknown_attention(number, module))
    value_size = int(output.in_features)
    # An attention may have the model's window as an attribute and not use it.
    window = getattr(module, "sliding_window", None) if getattr(module, "is_sliding", 1) else None
    if "kv_b_proj" in linear and "kv_a_proj_with_mqa" in linear:
        config: Any = module.config
        try:
            heads = value_size // config.v_head_dim
            score_size = heads * (config.qk_nope_head_dim + config.qk_rope_head_dim)
        except (AttributeError, RuntimeError) as error:  # also of a size that differs by layer
            raise UserError(_unknown_attention(number, module)) from error
        cached = int(linear["kv_a_proj_with_mqa"].out_features)
        return AttentionShape(score_size, value_size, cached, window)
    if "k_proj" in linear:
        keys = int(linear["k_proj"].out_features)
        # Without a projection of their own, the values are the keys.
        values = int(linear.get("v_proj", linear["k_proj"]).out_features)
        return AttentionShape(value_size * keys // values, value_size, keys + values, window)
    fused = next((linear[name] for name in FUSED_NAMES if name in linear), None)
    if fused is None:
        raise UserError(_unknown_attention(number, module))
    return AttentionShape(value_size, value_size, int(fused.out_features) - value_size, window)


def _linear_layers(module: nn.Module) -> Mapping[str, Any]:
    return {
        name.rpartition(".")[2]: part
        for name, part in module.named_modules()
        if hasattr(part, "in_features")
    }


def _unknown_attention(number: int, module: nn.Module) -> str:
    return (
        f"The sizes of the attention in layer {number} ({type(module).__name__}) cannot be read "
        "from its projections, so the cost of a token is unknown."
    )


def image_tower(model: Any) -> nn.Module | None:  # noqa: ANN401
    """Return the module that encodes images; ``None`` if there is none or it is not exposed."""
    get_encoder = getattr(model, "get_encoder", None)
    if not callable(get_encoder) or not hasattr(getattr(model, "config", None), "vision_config"):
        return None
    tower: nn.Module = get_encoder(modality="image")
    # A model without an image tower returns itself, or its base.
    return None if tower is model or tower is getattr(model, "base_model", None) else tower
