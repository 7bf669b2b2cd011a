"""Observed experts of one MoE layer: frozen counts, sums over them and load statistics."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from moe_eval_plugin.experts.ffn_use import UNKNOWN_KIND, FFNUse, chosen_by_kind, ffn_use
from moe_eval_plugin.experts.tokens import CONTENT, PHASES, ObservedModality, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class TokenCount(NamedTuple):
    """Number of tokens of one modality, in one phase, that used k distinct experts each."""

    phase: Phase
    modality: ObservedModality
    k: int
    n_tokens: int


class StepCount(NamedTuple):
    """Distinct experts that the forward passes of one phase touched in one layer."""

    phase: Phase
    """The phase of the passes."""
    n_steps: int
    """Number of forward passes with at least one token in the layer."""
    n_distinct: int
    """Distinct experts of each pass, added up over the passes."""
    smallest: int
    """Fewest distinct experts of a pass."""
    largest: int
    """Most distinct experts of a pass."""

    @property
    def mean(self) -> float:
        """Mean distinct experts per forward pass."""
        return self.n_distinct / self.n_steps


@dataclass(frozen=True)
class LayerObservation:
    """Observed experts of one MoE layer; a layer that no token reached has no counts."""

    num_experts: int | None = None
    """Routed experts that compute; ``None`` if the layer could not be observed."""
    num_zero_experts: int | None = None
    """Routed experts that compute nothing, an identity for instance; ``None`` if not observed."""
    modality: ObservedModality | None = None
    """The modality whose tokens alone the layer serves; ``None`` for all tokens."""
    tokens: tuple[TokenCount, ...] = ()
    """Tokens by the distinct experts that they chose; an index of "no expert" does not count."""
    ffn_tokens: tuple[TokenCount, ...] = ()
    """Tokens by the distinct experts that computed for them."""
    load: tuple[int, ...] = ()
    """Text and image tokens of each expert; experts that compute nothing come last."""
    steps: tuple[StepCount, ...] = ()
    """Distinct computing experts of the passes of each phase, without padding."""
    zero_expert_kinds: tuple[str, ...] = ()
    """The kind of each expert that computes nothing; empty where the kinds are not known."""

    @property
    def expert_load(self) -> tuple[int, ...]:
        """Text and image tokens of each expert that computes something."""
        return self.load[: self.num_experts]

    @property
    def load_entropy(self) -> float | None:
        """Entropy of the load: 1 if all experts have the same load, 0 if one expert has all of it.

        This is the Shannon entropy of the experts' shares of the load over its largest value,
        ``-sum(p * log(p)) / log(num_experts)``. ``None`` without load, or with a single expert.
        """
        load = self.expert_load
        total = sum(load)
        if total == 0 or len(load) == 1:
            return None
        shares = (count / total for count in load if count)
        return abs(sum(share * math.log(share) for share in shares)) / math.log(len(load))

    @property
    def load_gini(self) -> float | None:
        """Gini coefficient of the load: 0 if all experts have the same load.

        It is half the mean absolute difference between two experts over the mean load, and
        reaches ``1 - 1 / num_experts`` if one expert has all of it. ``None`` without load.
        """
        load = sorted(self.expert_load)
        total = sum(load)
        if total == 0:
            return None
        ranked = sum(rank * count for rank, count in enumerate(load, start=1))
        return 2 * ranked / (len(load) * total) - (len(load) + 1) / len(load)

    @property
    def unused_experts(self) -> tuple[int, ...]:
        """Indices of the computing experts that no text or image token used."""
        return tuple(index for index, count in enumerate(self.expert_load) if count == 0)

    def distinct_per_step(self, phase: Phase) -> StepCount | None:
        """Return the distinct experts of the passes of a phase; ``None`` if none ran.

        An expert counts once per pass, however many tokens use it.
        """
        return next((count for count in self.steps if count.phase == phase), None)

    def histogram(self, modality: ObservedModality | None, phase: Phase | None) -> Counter[int]:
        """Count tokens by the distinct experts that they chose; ``None`` as in ``Observation``."""
        return _histogram(self.tokens, modality, phase)

    def ffn_histogram(self, modality: ObservedModality | None, phase: Phase | None) -> Counter[int]:
        """Count tokens by the distinct experts that computed for them."""
        return _histogram(self.ffn_tokens, modality, phase)

    @property
    def chosen_kinds(self) -> Counter[str]:
        """Selections of each kind of expert; empty in a layer whose experts all compute."""
        if not self.num_zero_experts or not self.load:
            return Counter()
        kinds = self.zero_expert_kinds or (UNKNOWN_KIND,) * self.num_zero_experts
        return chosen_by_kind(self.load, self.num_experts or 0, kinds)

    @property
    def ffn_use(self) -> FFNUse | None:
        """FFN k, and the shares of the kinds of experts; ``None`` where all experts compute."""
        tokens = self.histogram(None, None)
        return ffn_use(tokens, self.ffn_histogram(None, None), self.chosen_kinds)

    def to_state(self) -> dict[str, Any]:
        """Return all counts as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LayerObservation:
        """Rebuild the counts from ``to_state``, also after a round trip through JSON."""
        rows = {"tokens": TokenCount, "ffn_tokens": TokenCount, "steps": StepCount}
        counts = {name: tuple(row(*values) for values in state[name]) for name, row in rows.items()}
        lists = {name: tuple(state.get(name, ())) for name in ("load", "zero_expert_kinds")}
        return cls(**{**state, **lists, **counts})

    def to_dict(self) -> dict[str, Any]:
        """Return a summary as plain JSON data of a fixed size."""
        steps = {phase: self.distinct_per_step(phase) for phase in PHASES}
        ffn = self.ffn_use
        return {
            "num_experts": self.num_experts,
            "num_zero_experts": self.num_zero_experts,
            "modality": self.modality,
            "observed_num_experts_per_tok": _means(self.tokens),
            "observed_num_ffn_experts_per_tok": _means(self.ffn_tokens),
            "load": {
                "entropy": self.load_entropy,
                "gini": self.load_gini,
                "n_unused_experts": len(self.unused_experts) if self.load else None,
            },
            "distinct_experts_per_step": {
                phase: count
                and {
                    "n_steps": count.n_steps,
                    "mean": count.mean,
                    "min": count.smallest,
                    "max": count.largest,
                }
                for phase, count in steps.items()
            },
            **({"ffn_use": ffn.to_dict()} if ffn else {}),
        }


def merge_layers(parts: Sequence[LayerObservation]) -> LayerObservation:
    """Return the sum of observations of copies of one layer; ``ValueError`` if they differ."""
    first, *others = parts
    if any(_shape(other) != _shape(first) for other in others):
        message = (
            "Observations of different layers cannot be added up: (experts, zero experts, "
            f"modality) are {sorted({str(_shape(part)) for part in parts})}. "
            "Merge only observations of copies of one model."
        )
        raise ValueError(message)
    loads = [part.load for part in parts if part.load]
    return LayerObservation(
        *_shape(first),
        tokens=_merge_tokens(count for part in parts for count in part.tokens),
        ffn_tokens=_merge_tokens(count for part in parts for count in part.ffn_tokens),
        load=tuple(map(sum, zip(*loads, strict=True))),
        steps=_merge_steps([count for part in parts for count in part.steps]),
        zero_expert_kinds=first.zero_expert_kinds,
    )


def mean_of(histogram: Counter[int]) -> float | None:
    """Return the mean k over tokens; ``None`` without tokens."""
    n = histogram.total()
    return sum(k * count for k, count in histogram.items()) / n if n else None


def _shape(layer: LayerObservation) -> tuple[int | None, int | None, ObservedModality | None]:
    return layer.num_experts, layer.num_zero_experts, layer.modality


def _merge_tokens(counts: Iterable[TokenCount]) -> tuple[TokenCount, ...]:
    total: Counter[tuple[Phase, ObservedModality, int]] = Counter()
    for count in counts:
        total[count.phase, count.modality, count.k] += count.n_tokens
    return tuple(TokenCount(*key, n) for key, n in sorted(total.items()))


def _merge_steps(counts: list[StepCount]) -> tuple[StepCount, ...]:
    by_phase = ((phase, [c for c in counts if c.phase == phase]) for phase in sorted(PHASES))
    return tuple(
        StepCount(
            phase,
            n_steps=sum(c.n_steps for c in same),
            n_distinct=sum(c.n_distinct for c in same),
            smallest=min(c.smallest for c in same),
            largest=max(c.largest for c in same),
        )
        for phase, same in by_phase
        if same
    )


def _histogram(
    rows: Iterable[TokenCount], modality: ObservedModality | None, phase: Phase | None
) -> Counter[int]:
    wanted = CONTENT if modality is None else (modality,)
    total: Counter[int] = Counter()
    for row in rows:
        if row.modality in wanted and phase in (None, row.phase):
            total[row.k] += row.n_tokens
    return total


def _means(rows: tuple[TokenCount, ...]) -> dict[str, dict[str, float | None]]:
    return {
        phase: {modality: mean_of(_histogram(rows, modality, phase)) for modality in CONTENT}
        for phase in PHASES
    }
