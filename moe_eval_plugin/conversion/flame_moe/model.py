"""The sizes of a FLAME-MoE model, and where Megatron-core stores its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.conversion.flame_moe import keys

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class FlameModel:
    """A decoder of FLAME-MoE, or one of its dense baselines."""

    vocabulary: int
    """Rows of the embedding, with those that fill it up to a multiple of 128."""
    hidden: int
    """Width of the residual stream."""
    n_layers: int
    """Decoder layers."""
    moe_layers: tuple[int, ...]
    """Numbers of the layers with experts, from 0."""
    is_stacked: bool
    """Whether all layers are in one tensor, with an axis for them."""
    norms: Mapping[tuple[int, str], str]
    """By layer and ``input`` or ``mlp``, the name of the norm's weight in the layer."""
    heads: int
    """Attention heads of queries."""
    groups: int
    """Attention heads of keys and values."""
    dense_width: int
    """Width of the MLP in layers without experts; 0 if there is none."""
    n_experts: int
    """Routed experts of a layer; 0 in a dense model, as the four that follow."""
    k: int
    """Routed experts of a token."""
    expert_width: int
    """Width of a routed expert."""
    shared_width: int
    """Width of all shared experts together."""
    max_positions: int
    """Longest sequence of the training."""
    epsilon: float
    """Of the norms."""
    rope_theta: float
    """Base of the rotary embedding."""
    dtype: str
    """Data type of the embedding."""

    @property
    def head_width(self) -> int:
        """The width of an attention head."""
        return self.hidden // self.heads

    @property
    def n_shared(self) -> int | None:
        """Shared experts of a routed one's width; ``None`` if the width is no multiple of it."""
        whole, rest = divmod(self.shared_width, self.expert_width or 1)
        return None if rest else whole

    def place(self, layer: int, name: str) -> tuple[str, tuple[int, ...]]:
        """Return key and index of a weight of a layer."""
        if self.is_stacked:
            return f"{keys.LAYERS}{name}", (layer,)
        return f"{keys.LAYERS}{layer}.{name}", ()

    def norm(self, layer: int, which: str) -> tuple[str, tuple[int, ...]]:
        """Return key and index of the norm before attention (``input``) or ``mlp``."""
        return self.place(layer, self.norms[layer, which])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor of the model, by its key."""
        found: dict[str, tuple[int, ...]] = {
            keys.EMBEDDING: (self.vocabulary, self.hidden),
            keys.HEAD: (self.vocabulary, self.hidden),
            keys.FINAL_NORM: (self.hidden,),
        }
        for layer in range(1 if self.is_stacked else self.n_layers):
            for name, shape in self._layer_shapes(layer).items():
                first = (self.n_layers,) if self.is_stacked else ()
                found[self.place(layer, name)[0]] = (*first, *shape)
        return found

    def _layer_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        hidden, width = self.hidden, self.head_width
        shapes: dict[str, tuple[int, ...]] = {
            self.norms[layer, "input"]: (hidden,),
            self.norms[layer, "mlp"]: (hidden,),
            keys.QKV: ((self.heads + 2 * self.groups) * width, hidden),
            keys.PROJECTION: (hidden, self.heads * width),
        }
        if layer not in self.moe_layers:
            return {
                **shapes,
                keys.FC1: (2 * self.dense_width, hidden),
                keys.FC2: (hidden, self.dense_width),
            }
        return {
            **shapes,
            keys.ROUTER: (self.n_experts, hidden),
            keys.EXPERTS_FC1: (self.n_experts, 2 * self.expert_width, hidden),
            keys.EXPERTS_FC2: (self.n_experts, hidden, self.expert_width),
            keys.SHARED_FC1: (2 * self.shared_width, hidden),
            keys.SHARED_FC2: (hidden, self.shared_width),
        }
