"""What tokens were observed to use in a whole model: counts, the sums over them, merging.

Nothing here knows a model. ``probe`` fills these counts; verification and results read them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

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

    from moe_eval_plugin.experts.tokens import Phase


class InputTokenCount(NamedTuple):
    """So many tokens of one modality were given to the model in one phase."""

    phase: Phase
    modality: ObservedModality
    n_tokens: int


@dataclass(frozen=True)
class Observation:
    """What tokens used: the counts of each MoE layer, under the path of its routed experts.

    ``fed`` counts the tokens given to the model, whether or not any experts were seen with them.
    Wherever a modality can be chosen, ``None`` means text and image, without padding; a phase of
    ``None`` means both. Image tokens include those of videos. A token whose kind is not known
    counts as text: where the model was given embeddings, or the layer another number of rows, and
    padding too where the mask is not one of (rows, tokens).
    """

    layers: Mapping[str, LayerObservation]
    fed: tuple[InputTokenCount, ...] = ()

    def by_layer(
        self, modality: ObservedModality | None = None, phase: Phase | None = None
    ) -> dict[str, dict[int, int]]:
        """Give the histogram of each layer: distinct routed experts -> tokens.

        A layer whose experts were not seen has an empty histogram. A layer that serves one
        modality alone is left out where no such token was asked for, or given to the model.
        """
        return {
            path: dict(sorted(layer.histogram(modality, phase).items()))
            for path, layer in self.layers.items()
            if self._is_concerned(layer, modality, phase)
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
        """Average the routed experts per token over tokens and layers; ``None`` without tokens.

        Raises ``KeyError`` for a layer that is not there.
        """
        chosen = (part.histogram(modality, phase) for part in self._chosen(layer))
        return mean_of(sum(chosen, Counter()))

    def mean_ffn_k(
        self,
        layer: str | None = None,
        modality: ObservedModality | None = None,
        phase: Phase | None = None,
    ) -> float | None:
        """Average as ``mean_k`` does, over the experts that compute something.

        It differs from ``mean_k`` only in families with zero-computation experts.
        """
        chosen = (part.ffn_histogram(modality, phase) for part in self._chosen(layer))
        return mean_of(sum(chosen, Counter()))

    def n_tokens(self, modality: ObservedModality, phase: Phase | None = None) -> int:
        """Count the tokens of one modality that were given to the model."""
        return sum(
            count.n_tokens
            for count in self.fed
            if count.modality == modality and phase in (None, count.phase)
        )

    def missed_tokens(self) -> dict[str, int]:
        """Count the text and image tokens given to the model that a layer's experts did not get.

        Layers that got all are left out. One that is listed was passed by on some path, in decode
        alone perhaps, and nothing is known of the experts that those tokens used. In an
        encoder-decoder model each layer gets a part of the tokens, so all are listed.
        """
        missed = {path: self._n_missed(layer) for path, layer in self.layers.items()}
        return {path: count for path, count in missed.items() if count > 0}

    def to_dict(self) -> dict[str, Any]:
        """Summarise the observation as plain JSON data, whose size depends on the layers alone."""
        return {
            "n_tokens": {
                phase: {
                    modality: self.n_tokens(modality, phase) for modality in OBSERVED_MODALITIES
                }
                for phase in PHASES
            },
            "observed_num_experts_per_tok": self.mean_k(),
            "observed_num_ffn_experts_per_tok": self.mean_ffn_k(),
            "layers": {path: layer.to_dict() for path, layer in self.layers.items()},
        }

    def to_state(self) -> dict[str, Any]:
        """Give all counts as plain JSON data, to be sent to another process."""
        layers = {path: layer.to_state() for path, layer in self.layers.items()}
        return {"layers": layers, "fed": [list(count) for count in self.fed]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Observation:
        """Rebuild what ``to_state`` gave, also after a way through JSON."""
        layers = {p: LayerObservation.from_state(part) for p, part in state["layers"].items()}
        return cls(layers, tuple(InputTokenCount(*count) for count in state["fed"]))

    def _chosen(self, layer: str | None) -> list[LayerObservation]:
        return list(self.layers.values()) if layer is None else [self.layers[layer]]

    def _is_concerned(
        self, layer: LayerObservation, modality: ObservedModality | None, phase: Phase | None
    ) -> bool:
        own = layer.modality
        return own is None or (modality in (None, own) and self.n_tokens(own, phase) > 0)

    def _n_missed(self, layer: LayerObservation) -> int:
        own = CONTENT if layer.modality is None else (layer.modality,)
        given = sum(self.n_tokens(modality) for modality in own)
        return given - layer.histogram(None, None).total()


def merge(observations: Iterable[Observation]) -> Observation:
    """Add up observations of copies of one model, those of data-parallel ranks for instance.

    A forward pass of each copy is a step of its own. Raises ``ValueError`` where a layer has
    another number of experts in one of them.
    """
    parts = list(observations)
    paths = dict.fromkeys(path for part in parts for path in part.layers)
    layers = {
        path: merge_layers([part.layers[path] for part in parts if path in part.layers])
        for path in paths
    }
    fed: Counter[tuple[Phase, ObservedModality]] = Counter()
    for part in parts:
        fed.update({(count.phase, count.modality): count.n_tokens for count in part.fed})
    return Observation(layers, tuple(InputTokenCount(*key, n) for key, n in sorted(fed.items())))


def distinct_by_layer(seen: Observation, phase: Phase) -> tuple[float, ...]:
    """Give the mean distinct experts of a forward pass for each decoder layer with routed experts.

    Where a layer has them in several modules their mean is taken; those for image tokens alone are
    left out. Empty unless all layers were seen in this phase.
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
