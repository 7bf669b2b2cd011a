"""Read the sizes of a FLAME-MoE model from a checkpoint, and refuse one that is something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.conversion.flame_moe import keys
from moe_eval_plugin.conversion.flame_moe.arguments import moe_layers, number, whole_number
from moe_eval_plugin.conversion.flame_moe.model import FlameModel
from moe_eval_plugin.errors import BrokenCheckpointError, UnsupportedCheckpointError
from moe_eval_plugin.text import counted, first_few

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.conversion.torch_dist.checkpoint import TorchDistCheckpoint

# Of FLAME-MoE, where the arguments of the run do not state them.
MAX_POSITIONS = 2048
EPSILON = 1e-6
ROPE_THETA = 10000.0
# No model has as many; a file that says so must not fill the memory with their names.
MOST_LAYERS = 10_000
FLOATS = ("float32", "bfloat16", "float16")


def read_model(checkpoint: TorchDistCheckpoint) -> FlameModel:
    """Return the model of a checkpoint, by the shapes of its tensors and the run's arguments.

    Raises ``BrokenCheckpointError`` for tensors that are missing or of another shape, and
    ``UnsupportedCheckpointError`` for weights and sizes that are not those of such a model.
    """
    arguments = checkpoint.arguments
    sizes = _Sizes(checkpoint, _layers(checkpoint))
    vocabulary, hidden = sizes.shape(keys.EMBEDDING, 2)
    heads = whole_number(arguments, "num_attention_heads")
    if heads is None:
        message = (
            f"The arguments in {checkpoint.folder / 'common.pt'} do not state num_attention_heads, "
            "which the shapes of the tensors do not tell. Convert the files as Megatron saved them."
        )
        raise UnsupportedCheckpointError(message)
    # Megatron ignores num_query_groups, whose default is 1, unless the attention is grouped.
    is_grouped = bool(arguments.get("group_query_attention"))
    groups = whole_number(arguments, "num_query_groups") if is_grouped else heads
    with_experts = sizes.with_experts
    model = FlameModel(
        vocabulary=vocabulary,
        hidden=hidden,
        n_layers=len(sizes.layers),
        moe_layers=with_experts,
        is_stacked=sizes.is_stacked,
        norms=_norms(sizes.layers),
        heads=heads,
        groups=groups or heads,
        dense_width=sizes.of_layer(sizes.dense, keys.FC2, 1),
        n_experts=sizes.of_layer(with_experts, keys.ROUTER, 0),
        k=_k(arguments) if with_experts else 0,
        expert_width=sizes.of_layer(with_experts, keys.EXPERTS_FC2, 2),
        shared_width=sizes.of_layer(with_experts, keys.SHARED_FC2, 1),
        max_positions=whole_number(arguments, "max_position_embeddings") or MAX_POSITIONS,
        epsilon=number(arguments, "norm_epsilon", EPSILON),
        rope_theta=number(arguments, "rotary_base", ROPE_THETA),
        dtype=checkpoint.tensors[keys.EMBEDDING].dtype,
    )
    _check_heads(model, arguments)
    _check_tensors(model, checkpoint)
    _check_stated(model, arguments)
    return model


@dataclass(frozen=True)
class _Layers:
    """The names of the weights in each layer, and whether all layers are in one tensor."""

    names: tuple[frozenset[str], ...]
    is_stacked: bool


@dataclass(frozen=True)
class _Sizes:
    """Looks sizes up in the shapes of a checkpoint's tensors."""

    checkpoint: TorchDistCheckpoint
    found: _Layers

    @property
    def layers(self) -> tuple[frozenset[str], ...]:
        return self.found.names

    @property
    def is_stacked(self) -> bool:
        return self.found.is_stacked

    @property
    def with_experts(self) -> tuple[int, ...]:
        return tuple(n for n, names in enumerate(self.layers) if keys.ROUTER in names)

    @property
    def dense(self) -> tuple[int, ...]:
        return tuple(n for n, names in enumerate(self.layers) if keys.ROUTER not in names)

    def shape(self, key: str, n_axes: int) -> tuple[int, ...]:
        return _shape(self.checkpoint, key, n_axes)

    def of_layer(self, layers: tuple[int, ...], name: str, axis: int) -> int:
        """Return a size of a weight in the first of some layers; 0 if there are no such layers."""
        if not layers:
            return 0
        n_axes = 3 if name == keys.EXPERTS_FC2 else 2
        if self.is_stacked:
            return self.shape(f"{keys.LAYERS}{name}", n_axes + 1)[axis + 1]
        return self.shape(f"{keys.LAYERS}{layers[0]}.{name}", n_axes)[axis]


def _layers(checkpoint: TorchDistCheckpoint) -> _Layers:
    numbered: dict[int, set[str]] = {}
    stacked: set[str] = set()
    for key in checkpoint.tensors:
        if match := keys.NUMBERED.fullmatch(key):
            numbered.setdefault(int(match[1]), set()).add(match[2])
        elif key.startswith(keys.LAYERS):
            stacked.add(key.removeprefix(keys.LAYERS))
    if stacked and not numbered:
        n_layers = min(_shape(checkpoint, f"{keys.LAYERS}{keys.QKV}", 3)[0], MOST_LAYERS)
        return _Layers((frozenset(stacked),) * n_layers, is_stacked=True)
    missing = [n for n in range(len(numbered)) if n not in numbered]
    if not numbered or missing or stacked:
        what = f"layer {missing[0]}" if missing else "decoder layers"
        raise BrokenCheckpointError(_missing(checkpoint, what))
    names = tuple(frozenset(numbered[n]) for n in range(len(numbered)))
    return _Layers(names, is_stacked=False)


def _norms(layers: tuple[frozenset[str], ...]) -> dict[tuple[int, str], str]:
    """Return the names of the norms; the first that is known where a layer has none of them."""
    known = {"input": keys.INPUT_NORMS, "mlp": keys.MLP_NORMS}
    return {
        (n, which): next((name for name in allowed if name in names), allowed[0])
        for n, names in enumerate(layers)
        for which, allowed in known.items()
    }


def _k(arguments: Mapping[str, object]) -> int:
    k = whole_number(arguments, "moe_router_topk")
    if k is None:
        message = (
            "The arguments of the run do not state moe_router_topk, the routed experts of a token, "
            "which the tensors do not tell. Convert a checkpoint as Megatron saved it."
        )
        raise UnsupportedCheckpointError(message)
    return k


def _check_heads(model: FlameModel, arguments: Mapping[str, object]) -> None:
    width = whole_number(arguments, "kv_channels") or model.head_width
    if width * model.heads != model.hidden or model.heads % model.groups:
        message = (
            f"{counted(model.heads, 'attention head')} of width {width} in {model.groups} groups "
            f"are not those of a hidden size of {model.hidden}, so no layout can represent them."
        )
        raise UnsupportedCheckpointError(message)


def _check_tensors(model: FlameModel, checkpoint: TorchDistCheckpoint) -> None:
    """Check that there are the tensors of the model, in its shapes, and no others."""
    shapes = model.shapes()
    others = [
        key for key in checkpoint.tensors if key not in shapes and not keys.OPTIMIZER.match(key)
    ]
    if others:
        message = (
            f"{checkpoint.folder} has {counted(len(others), 'tensor')} that FLAME-MoE does not "
            f"have: {first_few(sorted(others))}. They are no known states of the optimizer, and "
            "without them the model would be another, so nothing was written."
        )
        raise UnsupportedCheckpointError(message)
    for key, shape in shapes.items():
        found = _shape(checkpoint, key, len(shape))
        dtype = checkpoint.tensors[key].dtype
        if found != shape:
            message = (
                f"{key} has the shape {found}, where {shape} follows from the other tensors and "
                "the arguments of the run. Download or copy the checkpoint again."
            )
            raise BrokenCheckpointError(message)
        if dtype not in FLOATS:
            message = f"{key} is of type {dtype}; weights of {', '.join(FLOATS)} are converted."
            raise UnsupportedCheckpointError(message)


def _check_stated(model: FlameModel, arguments: Mapping[str, object]) -> None:
    """Check sizes that the arguments state too; raises ``BrokenCheckpointError``."""
    found = {
        "hidden_size": model.hidden,
        "num_layers": model.n_layers,
        "padded_vocab_size": model.vocabulary,
    }
    if model.dense_width:
        found["ffn_hidden_size"] = model.dense_width
    if model.n_experts:
        found["num_experts"] = model.n_experts
        found["moe_ffn_hidden_size"] = model.expert_width
        found["moe_shared_expert_intermediate_size"] = model.shared_width
    for name, size in found.items():
        stated = whole_number(arguments, name)
        if stated is not None and stated != size:
            raise BrokenCheckpointError(_contradiction(name, stated, size))
    stated_layers = moe_layers(arguments, model.n_layers) if model.n_experts else None
    if stated_layers is not None and stated_layers != model.moe_layers:
        message = _contradiction("moe_layer_freq", list(stated_layers), list(model.moe_layers))
        raise BrokenCheckpointError(message)
    if model.n_experts and model.k > model.n_experts:
        raise BrokenCheckpointError(_contradiction("moe_router_topk", model.k, model.n_experts))


def _shape(checkpoint: TorchDistCheckpoint, key: str, n_axes: int) -> tuple[int, ...]:
    facts = checkpoint.tensors.get(key)
    if facts is None:
        raise BrokenCheckpointError(_missing(checkpoint, key))
    if len(facts.shape) != n_axes or not all(facts.shape):
        message = (
            f"{key} has the shape {facts.shape}, where {n_axes} axes were expected. Download or "
            "copy the checkpoint again."
        )
        raise BrokenCheckpointError(message)
    return facts.shape


def _missing(checkpoint: TorchDistCheckpoint, what: str) -> str:
    return (
        f"{checkpoint.folder} has no {what}, so it is not a complete checkpoint of FLAME-MoE or "
        "its dense baselines. Download or copy it again, with all of its files."
    )


def _contradiction(name: str, stated: object, found: object) -> str:
    return (
        f"The arguments of the run have {name}={stated}, and the tensors {found}. The files do not "
        "belong together: download or copy the checkpoint again."
    )
