"""The statistics again, with loops over tokens and as their definitions read: slow, and plain."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.routing.trace import LayerTrace


def chosen(layer: LayerTrace) -> list[list[int]]:
    """The experts of each token at the published k."""
    return [row[: layer.published_k] for row in layer.experts.tolist()]


def load(layer: LayerTrace) -> list[int]:
    counts = Counter(expert for row in chosen(layer) for expert in row)
    return [counts[expert] for expert in range(layer.num_choices)]


def margins(layer: LayerTrace, k: int) -> list[float]:
    assert layer.scores is not None
    return [row[k - 1] - row[k] for row in layer.scores.tolist()]


def retained(layer: LayerTrace, k: int) -> list[float]:
    assert layer.scores is not None
    return [sum(row[:k]) / sum(row[: layer.published_k]) for row in layer.scores.tolist()]


def percentile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest of the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def conditional(layer: LayerTrace) -> list[list[float | None]]:
    """As FLAME-MoE's script counts: both orders of each pair, over the count of the first."""
    n = layer.num_choices
    record = [[0] * n for _ in range(n)]
    for row in chosen(layer):
        for i in row:
            for j in row:
                record[i][j] += 1
                record[j][i] += 1
    return [
        [None if not record[i][i] else record[i][j] / record[i][i] * (i != j) for j in range(n)]
        for i in range(n)
    ]


def saturation(first: LayerTrace, second: LayerTrace, k: int) -> float:
    pairs = zip(first.experts.tolist(), second.experts.tolist(), strict=True)
    return fmean(len(set(one[:k]) & set(two[:k])) / k for one, two in pairs)


def token_shares(layer: LayerTrace, ids: Sequence[int]) -> dict[int, dict[int, float]]:
    """For each token, the share of its occurrences that chose each expert."""
    found: dict[int, Counter[int]] = defaultdict(Counter)
    for token, row in zip(ids, chosen(layer), strict=True):
        found[token].update(row)
    occurrences = Counter(ids)
    return {
        token: {expert: n / occurrences[token] for expert, n in counts.items()}
        for token, counts in found.items()
    }


def own_share(shares: dict[int, float], k: int) -> float:
    return sum(sorted(shares.values(), reverse=True)[:k]) / k


def task_shares(layer: LayerTrace, tasks: Sequence[int], n_tasks: int) -> list[list[float]]:
    """For each expert, the distribution over tasks of the tokens that chose it."""
    counts = [[0] * n_tasks for _ in range(layer.num_choices)]
    for task, row in zip(tasks, chosen(layer), strict=True):
        for expert in row:
            counts[expert][task] += 1
    return [[n / max(1, sum(row)) for n in row] for row in counts]


def divergence(shares: Sequence[float], overall: Sequence[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(shares, overall, strict=True) if p)
