"""List the tensors that a conversion writes, each with the part of a stored one that it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.conversion.flame_moe import keys
from moe_eval_plugin.errors import UnsupportedCheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from moe_eval_plugin.conversion.flame_moe.model import FlameModel
    from moe_eval_plugin.conversion.torch_dist.checkpoint import TorchDistCheckpoint

LLAMA, DEEPSEEK, QWEN2_MOE = "llama", "deepseek", "qwen2_moe"
PROJECTIONS = ("q", "k", "v")


@dataclass(frozen=True)
class Target:
    """A tensor to write: a part of a stored tensor, or zeros."""

    name: str
    """Its name in the result."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: str
    """Its data type as stored."""
    key: str | None
    """The stored tensor; ``None`` for zeros."""
    index: tuple[int, ...] = ()
    """The place on the first axes of the stored tensor: layer, expert."""
    rows: tuple[int, int] | None = None
    """The part of the next axis; ``None`` for all of it."""
    projection: str = ""
    """``q``, ``k`` or ``v``: the part of a tensor in which the three alternate by group."""
    factor: int = 1
    """What the values are multiplied with."""


def list_targets(
    model: FlameModel, checkpoint: TorchDistCheckpoint, layout: str
) -> tuple[Target, ...]:
    """Return the tensors of a layout in the order of the model, none of them read.

    ``layout`` is ``deepseek``, ``qwen2_moe``, or ``llama`` for a model without experts.
    """
    return tuple(_Lister(model, checkpoint, layout).all())


def read_target(
    checkpoint: TorchDistCheckpoint, model: FlameModel, target: Target, dtype: str | None
) -> Tensor:
    """Return the values of a tensor to write, in a data type or in the one they are stored in.

    Raises ``UnsupportedCheckpointError`` for values that float16 cannot hold.
    """
    import torch

    wanted = getattr(torch, dtype or target.dtype)
    if target.key is None:
        return torch.zeros(target.shape, dtype=wanted)
    values = checkpoint.read(target.key, target.index, target.rows)
    if target.projection:
        # By group: the queries that share a key and a value, then that key, then that value.
        by_group = values.view(model.groups, -1, model.head_width, model.hidden)
        parts = {"q": by_group[:, :-2], "k": by_group[:, -2:-1], "v": by_group[:, -1:]}
        values = parts[target.projection].reshape(target.shape)
    values = values.to(wanted)
    if target.factor != 1:
        values *= target.factor
    if wanted == torch.float16 and not bool(torch.isfinite(values).all()):
        message = (
            f"{target.name} has values that float16 cannot hold. Use --dtype bfloat16 or float32."
        )
        raise UnsupportedCheckpointError(message)
    return values


@dataclass(frozen=True)
class _Lister:
    model: FlameModel
    checkpoint: TorchDistCheckpoint
    layout: str

    def all(self) -> Iterator[Target]:
        vocabulary, hidden = self.model.vocabulary, self.model.hidden
        yield self._whole("model.embed_tokens.weight", (vocabulary, hidden), keys.EMBEDDING)
        for layer in range(self.model.n_layers):
            yield from self._layer(layer, f"model.layers.{layer}.")
        yield self._whole("model.norm.weight", (hidden,), keys.FINAL_NORM)
        yield self._whole("lm_head.weight", (vocabulary, hidden), keys.HEAD)

    def _layer(self, layer: int, prefix: str) -> Iterator[Target]:
        model, hidden = self.model, self.model.hidden
        norm = model.norm(layer, "input")
        yield self._whole(f"{prefix}input_layernorm.weight", (hidden,), *norm)
        qkv = model.place(layer, keys.QKV)
        for part in PROJECTIONS:
            n_heads = model.heads if part == "q" else model.groups
            name, n_rows = f"{prefix}self_attn.{part}_proj", n_heads * model.head_width
            shape = n_rows, hidden
            yield Target(f"{name}.weight", shape, self._dtype(qkv[0]), *qkv, projection=part)
            if self.layout == QWEN2_MOE:
                # vLLM's qwen2_moe has these biases whatever the configuration says.
                yield Target(f"{name}.bias", (n_rows,), self._dtype(qkv[0]), None)
        shape = hidden, model.heads * model.head_width
        place = model.place(layer, keys.PROJECTION)
        yield self._whole(f"{prefix}self_attn.o_proj.weight", shape, *place)
        norm = model.norm(layer, "mlp")
        yield self._whole(f"{prefix}post_attention_layernorm.weight", (hidden,), *norm)
        if layer in model.moe_layers:
            yield from self._experts(layer, f"{prefix}mlp.")
        else:
            places = model.place(layer, keys.FC1), model.place(layer, keys.FC2)
            yield from self._mlp(f"{prefix}mlp.", model.dense_width, *places)

    def _experts(self, layer: int, prefix: str) -> Iterator[Target]:
        model = self.model
        router = model.place(layer, keys.ROUTER)
        yield self._whole(f"{prefix}gate.weight", (model.n_experts, model.hidden), *router)
        fc1, fc2 = (model.place(layer, name) for name in (keys.EXPERTS_FC1, keys.EXPERTS_FC2))
        for expert in range(model.n_experts):
            places = [(key, (*index, expert)) for key, index in (fc1, fc2)]
            yield from self._mlp(f"{prefix}experts.{expert}.", model.expert_width, *places)
        places = [model.place(layer, name) for name in (keys.SHARED_FC1, keys.SHARED_FC2)]
        if self.layout != QWEN2_MOE:
            yield from self._mlp(f"{prefix}shared_experts.", model.shared_width, *places)
            return
        # The gate of zeros is a factor of exactly 1/2, and the other matrix is doubled.
        name, dtype = f"{prefix}shared_expert_gate.weight", self._dtype(places[0][0])
        yield Target(name, (1, model.hidden), dtype, None)
        yield from self._mlp(f"{prefix}shared_expert.", model.shared_width, *places, factor=2)

    def _mlp(
        self,
        prefix: str,
        width: int,
        fc1: tuple[str, tuple[int, ...]],
        fc2: tuple[str, tuple[int, ...]],
        *,
        factor: int = 1,
    ) -> Iterator[Target]:
        """Yield the matrices of an MLP; in the first stored one the gate is above the other."""
        hidden = self.model.hidden
        for name, rows in (("gate", (0, width)), ("up", (width, 2 * width))):
            dtype = self._dtype(fc1[0])
            yield Target(f"{prefix}{name}_proj.weight", (width, hidden), dtype, *fc1, rows=rows)
        dtype = self._dtype(fc2[0])
        yield Target(f"{prefix}down_proj.weight", (hidden, width), dtype, *fc2, factor=factor)

    def _whole(
        self, name: str, shape: tuple[int, ...], key: str, index: tuple[int, ...] = ()
    ) -> Target:
        return Target(name, shape, self._dtype(key), key, index)

    def _dtype(self, key: str) -> str:
        return self.checkpoint.tensors[key].dtype
