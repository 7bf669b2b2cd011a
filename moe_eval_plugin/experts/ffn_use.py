"""How many of a token's experts compute an FFN, and which kinds its choices went to.

In families with zero-computation experts (MoE++, arXiv 2410.07348; LongCat-Flash) k counts all
experts that a token selects. Those of them that compute an FFN are its FFN k.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.json_object import JsonObject

FFN = "ffn"
# What a zero-computation expert returns: zeros, the token as it is, the token and a constant mixed.
ZERO, COPY, CONSTANT = "zero", "copy", "constant"
KINDS = (ZERO, COPY, CONSTANT)
UNKNOWN_KIND = "no_ffn"
LOW, HIGH = 10, 90


@dataclass(frozen=True)
class FFNUse:
    """Selected k and FFN k over tokens, and the shares of the kinds of experts."""

    selected: float
    """Mean number of experts that a token selected."""
    mean: float
    """Mean FFN k."""
    p10: int
    """FFN k that at least a tenth of the tokens do not exceed."""
    p90: int
    """FFN k that at least nine tenths of the tokens do not exceed."""
    shares: Mapping[str, float]
    """Share of the selections by kind of expert: ``ffn``, ``zero``, ``copy`` and ``constant``, or
    ``no_ffn`` if the kind is not known. They add up to 1."""

    @property
    def zero_computation(self) -> float:
        """Share of the selections that went to zero-computation experts of all kinds."""
        return sum(share for kind, share in self.shares.items() if kind != FFN)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as they are stored with results."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> FFNUse:
        """Build the numbers from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        shares = values.need_item("shares")
        return cls(
            selected=values.need_number("selected"),
            mean=values.need_number("mean"),
            p10=values.need_integer("p10"),
            p90=values.need_integer("p90"),
            shares={kind: shares.need_number(kind) for kind in shares.values},
        )


def ffn_use(
    tokens: Counter[int], ffn_tokens: Counter[int], chosen: Mapping[str, int]
) -> FFNUse | None:
    """Return the numbers from counts; ``None`` without tokens.

    ``tokens`` and ``ffn_tokens`` map a number of experts to the tokens that selected so many, and
    that so many computed an FFN for; ``chosen`` has the selections of each kind of expert.
    """
    n_tokens, n_chosen = ffn_tokens.total(), sum(chosen.values())
    if not n_tokens or not n_chosen:
        return None
    return FFNUse(
        selected=_mean(tokens),
        mean=_mean(ffn_tokens),
        p10=_percentile(ffn_tokens, LOW),
        p90=_percentile(ffn_tokens, HIGH),
        shares={kind: count / n_chosen for kind, count in chosen.items()},
    )


def chosen_by_kind(
    load: Sequence[int], num_experts: int, zero_expert_kinds: Sequence[str]
) -> Counter[str]:
    """Return the selections of each kind, ``ffn`` first, from those of each expert.

    ``load`` has the experts that compute nothing last, and ``zero_expert_kinds`` their kinds.
    """
    chosen = Counter({FFN: sum(load[:num_experts])})
    for kind, count in zip(zero_expert_kinds, load[num_experts:], strict=True):
        chosen[kind] += count
    return chosen


def _mean(histogram: Counter[int]) -> float:
    return sum(k * count for k, count in histogram.items()) / histogram.total()


def _percentile(histogram: Counter[int], percent: int) -> int:
    """Return the smallest k that at least this share of the tokens does not exceed."""
    at_most, needed = 0, percent * histogram.total()
    for k, count in sorted(histogram.items()):
        at_most += count
        if 100 * at_most >= needed:
            return k
    return max(histogram)
