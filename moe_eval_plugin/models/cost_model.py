"""What a token costs at k, in FLOPs and in bytes, and the speed-up that k can give at the most.

Plain arithmetic over the sizes of a language model; no model is needed here. What is assumed:

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
    """One attention module with a cache of keys and values.

    ``score_size`` counts the numbers of all query heads together, ``value_size`` those that the
    weighted values have; ``cached_numbers`` is what one position adds to the cache. ``window`` is
    the number of positions that can be attended to, ``None`` for all of them.
    """

    score_size: int
    value_size: int
    cached_numbers: int
    window: int | None = None

    def attended(self, position: int) -> int:
        """Count the positions that the position with this number, from 1, attends to."""
        return min(position, self.window or position)

    def mean_attended(self, context_length: int) -> float:
        """Average the positions attended to over all positions of a causal prompt."""
        width = self.attended(context_length)
        return (width * (width + 1) / 2 + (context_length - width) * width) / context_length


@dataclass(frozen=True)
class RoutedLayer:
    """The routed experts of one decoder layer, as far as cost goes."""

    num_experts: int
    parameters_per_expert: int


@dataclass(frozen=True)
class TokenFlops:
    """FLOPs of the language model for one token: matrices of routed experts, and all the rest."""

    routed: float
    other: float
    head: float
    attention: float

    @property
    def total(self) -> float:
        """Add up all parts."""
        return self.routed + self.other + self.head + self.attention

    @property
    def routed_flop_share(self) -> float:
        """Give the share of the FLOPs that is spent in routed experts (rho), 0 to 1."""
        return self.routed / self.total


@dataclass(frozen=True)
class LanguageModelCost:
    """The sizes of a language model that decide what a token costs.

    ``matrix_parameters`` are those of every matrix that each token is multiplied with, apart from
    routed experts and from the output head (``head_parameters``): attention, routers, shared
    experts, dense layers. Embedding tables are in neither, unless the head is tied to one.
    """

    matrix_parameters: int
    head_parameters: int
    routed_layers: tuple[RoutedLayer, ...]
    attentions: tuple[AttentionShape, ...]

    def prefill_flops(self, k: int, context_length: int) -> TokenFlops:
        """Average the FLOPs per token over a prompt of ``context_length`` tokens."""
        return TokenFlops(
            routed=2 * self._routed_parameters(k),
            other=2 * self.matrix_parameters,
            head=2 * self.head_parameters / context_length,
            attention=sum(
                2 * (shape.score_size + shape.value_size) * shape.mean_attended(context_length)
                for shape in self.attentions
            ),
        )

    def decode_flops(self, k: int, context_length: int) -> TokenFlops:
        """Give the FLOPs of one new token that is number ``context_length`` of its sequence."""
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
        """Count the numbers in the cache of one sequence of ``context_length`` tokens."""
        return sum(
            shape.cached_numbers * shape.attended(context_length) for shape in self.attentions
        )

    def prefill_ceiling(self, k: int, baseline: int, context_length: int) -> float:
        """Bound the speed-up of prefill by k, against the baseline: 1 / (1 - rho (1 - k/K)).

        Holds where time follows the FLOPs: a prompt long enough to keep the device computing.
        """
        at_baseline = self.prefill_flops(baseline, context_length)
        return _amdahl(at_baseline.routed_flop_share, k / baseline)

    def decode_numbers(
        self, batch_size: int, context_length: int, distinct_experts: Sequence[float]
    ) -> float:
        """Count the numbers (weights and cache) that one decode step of a batch reads.

        ``distinct_experts`` tells for each routed layer how many experts the whole batch uses.
        """
        routed = sum(
            distinct * layer.parameters_per_expert
            for distinct, layer in zip(distinct_experts, self.routed_layers, strict=True)
        )
        cache = batch_size * self.cached_numbers(context_length)
        return self.matrix_parameters + self.head_parameters + cache + routed

    def decode_range(self, k: int, batch_size: int, context_length: int) -> tuple[float, float]:
        """Bound the numbers that a decode step reads: its tokens agree on k experts, or on none.

        In each layer a batch uses k distinct experts at the least, and at the most
        ``min(num_experts, batch_size * k)``. Where between them depends on the text: measure it.
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
        """Bound the speed-up of a decode step by k, against the baseline, by the bytes it reads.

        ``distinct_experts`` per routed layer are those that the batch uses at the baseline, where
        they were measured; otherwise the most that there can be, which gives the highest ceiling.
        Fewer experts per token are taken to lower that number in proportion to k at the most.
        Both are exact for a batch of one. In a large batch the number hardly falls, so the true
        gain lies far below this ceiling.
        """
        distinct = distinct_experts or most_distinct(self.routed_layers, baseline, batch_size)
        total = self.decode_numbers(batch_size, context_length, distinct)
        none = self.decode_numbers(batch_size, context_length, [0.0] * len(distinct))
        return _amdahl((total - none) / total, k / baseline)

    def _routed_parameters(self, k: int) -> int:
        return k * sum(layer.parameters_per_expert for layer in self.routed_layers)


def most_distinct(layers: Sequence[RoutedLayer], k: int, batch_size: int) -> list[float]:
    """Give for each layer the most experts that a batch can use: each token its own k."""
    return [float(min(layer.num_experts, batch_size * k)) for layer in layers]


def _amdahl(share: float, kept: float) -> float:
    return 1 / (1 - share * (1 - kept))
