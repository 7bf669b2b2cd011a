"""Cost model of a token at k, in FLOPs and bytes, and the largest speed-up that k allows.

Plain arithmetic over the sizes of a language model; no model is needed. Assumptions:

- A multiplication with a matrix of n parameters is 2n FLOPs per token. Looking up an embedding,
  norms, activations and the softmax cost nothing.
- Attention at one position costs 2 FLOPs for each number of a query and each position that it
  attends to, and as much for the values. A prompt is causal: position i attends to i positions,
  and no more than a sliding window holds. Keys and values of earlier positions are kept, not
  computed again. Layers without keys (linear attention, state spaces) cost their matrices alone.
- The output head runs once per prompt, for its last position, and at every step of decoding.
- A decode step reads every weight that it uses once, and the whole cache of every sequence.
  Weights and cache have one data type. Activations and writing cost nothing.

Everything left out is the same at every k, so leaving it out can only raise the ceilings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of one attention module with a key-value cache.

    ``score_size`` is the number of elements of all query heads together, ``value_size`` that of
    the weighted values; ``cached_numbers`` are the elements that one position adds to the cache.
    ``window`` is the number of positions that can be attended to, ``None`` for all of them.
    """

    score_size: int
    value_size: int
    cached_numbers: int
    window: int | None = None

    def attended(self, position: int) -> int:
        """Return how many positions the position with this number, from 1, attends to."""
        return min(position, self.window or position)

    def mean_attended(self, context_length: int) -> float:
        """Return the mean of ``attended`` over all positions of a causal prompt."""
        width = self.attended(context_length)
        return (width * (width + 1) / 2 + (context_length - width) * width) / context_length


@dataclass(frozen=True)
class RoutedLayer:
    """Number and size of the routed experts of one decoder layer."""

    num_experts: int
    parameters_per_expert: int


@dataclass(frozen=True)
class TokenFlops:
    """FLOPs of the language model for one token, by part."""

    routed: float
    other: float
    head: float
    attention: float

    @property
    def total(self) -> float:
        """FLOPs of all parts together."""
        return self.routed + self.other + self.head + self.attention

    @property
    def routed_flop_share(self) -> float:
        """Share of the FLOPs that is spent in routed experts (rho), 0 to 1."""
        return self.routed / self.total


@dataclass(frozen=True)
class LanguageModelCost:
    """The sizes of a language model that determine the cost of a token.

    ``matrix_parameters`` are those of every matrix that each token is multiplied with, without
    routed experts and without the output head (``head_parameters``): attention, routers, shared
    experts, dense layers. Embedding tables are in neither, unless the head is tied to one.
    """

    matrix_parameters: int
    head_parameters: int
    routed_layers: tuple[RoutedLayer, ...]
    attentions: tuple[AttentionShape, ...]

    def prefill_flops(self, k: int | Sequence[int], context_length: int) -> TokenFlops:
        """Return the mean FLOPs per token over a prompt of ``context_length`` tokens.

        ``k`` is that of every routed layer, or that of each, in their order.
        """
        return TokenFlops(
            routed=2 * self._routed_parameters(k),
            other=2 * self.matrix_parameters,
            head=2 * self.head_parameters / context_length,
            attention=sum(
                2 * (shape.score_size + shape.value_size) * shape.mean_attended(context_length)
                for shape in self.attentions
            ),
        )

    def decode_flops(self, k: int | Sequence[int], context_length: int) -> TokenFlops:
        """Return the FLOPs of one new token, the ``context_length``-th of its sequence.

        ``k`` is that of every routed layer, or that of each, in their order.
        """
        return TokenFlops(
            routed=2 * self._routed_parameters(k),
            other=2 * self.matrix_parameters,
            head=2 * self.head_parameters,
            attention=sum(
                2 * (shape.score_size + shape.value_size) * shape.attended(context_length)
                for shape in self.attentions
            ),
        )

    def cached_numbers(self, context_length: int) -> int:
        """Return the number of elements in the cache of a sequence of ``context_length`` tokens."""
        return sum(
            shape.cached_numbers * shape.attended(context_length) for shape in self.attentions
        )

    def prefill_ceiling(self, k: int, baseline: int, context_length: int) -> float:
        """Return the largest speed-up of prefill at k over the baseline: 1 / (1 - rho (1 - k/K)).

        Holds where time follows the FLOPs: a prompt long enough to keep the device computing.
        """
        at_baseline = self.prefill_flops(baseline, context_length)
        return _amdahl(at_baseline.routed_flop_share, k / baseline)

    def decode_numbers(
        self, batch_size: int, context_length: int, distinct_experts: Sequence[float]
    ) -> float:
        """Return the number of elements (weights and cache) that one decode step of a batch reads.

        ``distinct_experts`` is the number of distinct experts of the whole batch, by routed layer.
        """
        routed = sum(
            distinct * layer.parameters_per_expert
            for distinct, layer in zip(distinct_experts, self.routed_layers, strict=True)
        )
        cache = batch_size * self.cached_numbers(context_length)
        return self.matrix_parameters + self.head_parameters + cache + routed

    def decode_range(self, k: int, batch_size: int, context_length: int) -> tuple[float, float]:
        """Return the least and the most elements that a decode step can read.

        In each layer a batch uses at least k distinct experts (all tokens agree), and at most
        ``min(num_experts, batch_size * k)``. The true number depends on the text: measure it.
        """
        least = [float(k) for _ in self.routed_layers]
        most = most_distinct(self.routed_layers, k, batch_size)
        return (
            self.decode_numbers(batch_size, context_length, least),
            self.decode_numbers(batch_size, context_length, most),
        )

    def decode_ceiling(
        self,
        k: int,
        baseline: int,
        batch_size: int,
        context_length: int,
        distinct_experts: Sequence[float] | None = None,
    ) -> float:
        """Return the largest speed-up of a decode step at k over the baseline, by bytes read.

        ``distinct_experts`` per routed layer are those that the batch uses at the baseline, where
        they were measured; otherwise the largest possible number, for the highest ceiling. It is
        assumed that fewer experts per token lower that number at most in proportion to k. Both are
        exact for a batch of one. In a large batch the number hardly falls, so the true gain is far
        below this ceiling.
        """
        distinct = distinct_experts or most_distinct(self.routed_layers, baseline, batch_size)
        total = self.decode_numbers(batch_size, context_length, distinct)
        none = self.decode_numbers(batch_size, context_length, [0.0] * len(distinct))
        return _amdahl((total - none) / total, k / baseline)

    def _routed_parameters(self, k: int | Sequence[int]) -> int:
        ks = [k] * len(self.routed_layers) if isinstance(k, int) else k
        by_layer = zip(ks, self.routed_layers, strict=True)
        return sum(of_layer * layer.parameters_per_expert for of_layer, layer in by_layer)


def most_distinct(layers: Sequence[RoutedLayer], k: int, batch_size: int) -> list[float]:
    """Return the most distinct experts that a batch can use, by layer: no two tokens share one."""
    return [float(min(layer.num_experts, batch_size * k)) for layer in layers]


def _amdahl(share: float, kept: float) -> float:
    return 1 / (1 - share * (1 - kept))
