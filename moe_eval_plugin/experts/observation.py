"""Observed experts of a whole model: counts by layer, sums over them, merging.

``override.observe`` and vLLM's workers fill these counts; verification and results read them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from moe_eval_plugin.experts.ffn_use import FFNUse, ffn_use
from moe_eval_plugin.experts.layer_observation import LayerObservation, mean_of, merge_layers
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.tokens import (
    CONTENT,
    OBSERVED_MODALITIES,
    PHASES,
    ObservedModality,
    Phase,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class InputTokenCount(NamedTuple):
    """Number of input tokens of one modality in one phase."""

    phase: Phase
    modality: ObservedModality
    n_tokens: int


@dataclass(frozen=True)
class Observation:
    """Observed experts of a model: the counts of each MoE layer, by the path of the layer.

    ``input_tokens`` counts the tokens of the model's input, whether or not any layer observed
    them. A modality of ``None`` means text and image, without padding; a phase of ``None`` means
    both. Image tokens include those of videos. A token of unknown kind counts as text: where the
    input is embeddings, where a layer has another number of rows, and padding too where the mask
    is not (rows, tokens).
    """

    layers: Mapping[str, LayerObservation]
    input_tokens: tuple[InputTokenCount, ...] = ()

    def by_layer(
        self, modality: ObservedModality | None = None, phase: Phase | None = None
    ) -> dict[str, dict[int, int]]:
        """Return the histogram of each layer: distinct routed experts -> tokens.

        A layer that observed no token has an empty histogram. A layer that serves one modality
        alone is left out where such tokens were not requested, or are not in the model's input.
        """
        return {
            path: dict(sorted(layer.histogram(modality, phase).items()))
            for path, layer in self.layers.items()
            if self._is_included(layer, modality, phase)
        }

    def distinct_k(
        self, modality: ObservedModality | None = None, phase: Phase | None = None
    ) -> tuple[int, ...]:
        """List every number of routed experts that some token used in some layer, sorted."""
        histograms = (layer.histogram(modality, phase) for layer in self.layers.values())
        return tuple(sorted(set().union(*histograms)))

    def mean_k(
        self,
        layer: str | None = None,
        modality: ObservedModality | None = None,
        phase: Phase | None = None,
    ) -> float | None:
        """Return the mean routed experts per token and layer; ``None`` without tokens.

        Raises ``KeyError`` for a layer that was not observed.
        """
        chosen = (part.histogram(modality, phase) for part in self._chosen(layer))
        return mean_of(sum(chosen, Counter()))

    def mean_ffn_k(
        self,
        layer: str | None = None,
        modality: ObservedModality | None = None,
        phase: Phase | None = None,
    ) -> float | None:
        """Return the mean as ``mean_k`` does, of the experts that compute something.

        It differs from ``mean_k`` only in families with zero-computation experts.
        """
        chosen = (part.ffn_histogram(modality, phase) for part in self._chosen(layer))
        return mean_of(sum(chosen, Counter()))

    @property
    def ffn_use(self) -> FFNUse | None:
        """FFN k over tokens and layers; ``None`` in a family without zero-computation experts."""
        tokens, ffn_tokens, chosen = Counter[int](), Counter[int](), Counter[str]()
        for layer in self.layers.values():
            if kinds := layer.chosen_kinds:
                tokens.update(layer.histogram(None, None))
                ffn_tokens.update(layer.ffn_histogram(None, None))
                chosen.update(kinds)
        return ffn_use(tokens, ffn_tokens, chosen)

    def n_tokens(self, modality: ObservedModality, phase: Phase | None = None) -> int:
        """Count the tokens of one modality in the model's input."""
        return sum(
            count.n_tokens
            for count in self.input_tokens
            if count.modality == modality and phase in (None, count.phase)
        )

    def missed_tokens(self) -> dict[str, int]:
        """Count the text and image tokens of the input that never reached a layer's experts.

        Layers that all tokens reached are left out. A listed layer was bypassed on some path, in
        decode alone perhaps, and the experts of those tokens are unknown. In an encoder-decoder
        model each layer receives a part of the tokens, so all layers are listed.
        """
        missed = {path: self._n_missed(layer) for path, layer in self.layers.items()}
        return {path: count for path, count in missed.items() if count > 0}

    def to_dict(self) -> dict[str, Any]:
        """Return a summary as plain JSON data, whose size depends on the number of layers alone."""
        ffn = self.ffn_use
        return {
            "n_tokens": {
                phase: {
                    modality: self.n_tokens(modality, phase) for modality in OBSERVED_MODALITIES
                }
                for phase in PHASES
            },
            "observed_num_experts_per_tok": self.mean_k(),
            "observed_num_ffn_experts_per_tok": self.mean_ffn_k(),
            **({"ffn_use": ffn.to_dict()} if ffn else {}),
            "layers": {path: layer.to_dict() for path, layer in self.layers.items()},
        }

    def to_state(self) -> dict[str, Any]:
        """Return all counts as plain JSON data, to be sent to another process."""
        layers = {path: layer.to_state() for path, layer in self.layers.items()}
        return {"layers": layers, "fed": [list(count) for count in self.input_tokens]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Observation:
        """Rebuild the observation from ``to_state``, also after a round trip through JSON."""
        layers = {p: LayerObservation.from_state(part) for p, part in state["layers"].items()}
        return cls(layers, tuple(InputTokenCount(*count) for count in state["fed"]))

    def _chosen(self, layer: str | None) -> list[LayerObservation]:
        return list(self.layers.values()) if layer is None else [self.layers[layer]]

    def _is_included(
        self, layer: LayerObservation, modality: ObservedModality | None, phase: Phase | None
    ) -> bool:
        own = layer.modality
        return own is None or (modality in (None, own) and self.n_tokens(own, phase) > 0)

    def _n_missed(self, layer: LayerObservation) -> int:
        own = CONTENT if layer.modality is None else (layer.modality,)
        n_input = sum(self.n_tokens(modality) for modality in own)
        return n_input - layer.histogram(None, None).total()


def merge(observations: Iterable[Observation]) -> Observation:
    """Return the sum of observations of copies of one model, such as data-parallel ranks.

    A forward pass of each copy counts as a step. Raises ``ValueError`` where the copies have
    another number of experts in a layer.
    """
    parts = list(observations)
    paths = dict.fromkeys(path for part in parts for path in part.layers)
    layers = {
        path: merge_layers([part.layers[path] for part in parts if path in part.layers])
        for path in paths
    }
    n_tokens: Counter[tuple[Phase, ObservedModality]] = Counter()
    for count in (count for part in parts for count in part.input_tokens):
        n_tokens[count.phase, count.modality] += count.n_tokens
    counts = (InputTokenCount(*key, n) for key, n in sorted(n_tokens.items()))
    return Observation(layers, tuple(counts))


def distinct_by_layer(seen: Observation, phase: Phase) -> tuple[float, ...]:
    """Return the mean distinct experts of a forward pass, for each decoder layer with experts.

    A layer with experts in several modules has their mean; modules for image tokens alone are left
    out. Empty unless every layer was observed in this phase.
    """
    by_layer: dict[int | None, list[LayerObservation]] = defaultdict(list)
    for path, layer in seen.layers.items():
        if layer.modality != "image":
            by_layer[layer_number(path)].append(layer)
    counts = [[layer.distinct_per_step(phase) for layer in part] for part in by_layer.values()]
    if any(count is None for part in counts for count in part):
        return ()
    return tuple(fmean(count.mean for count in part if count is not None) for part in counts)


def mean_load_entropy(seen: Observation) -> float | None:
    """Return the mean load entropy over layers, in 0 to 1; ``None`` where no layer has one."""
    values = [e for layer in seen.layers.values() if (e := layer.load_entropy) is not None]
    return fmean(values) if values else None
