"""Co-activation: which experts tokens choose together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.routing.statistics.tables import Coactivation, ExpertPair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.statistics.options import StudyOptions
    from moe_eval_plugin.routing.trace import LayerTrace

    Array = NDArray[np.float64]

MAX_STEPS = 1_000
TOLERANCE = 1e-9
NORMAL_QUANTILE = 1.96  # of a 95% interval


def coactivation(layer: LayerTrace, options: StudyOptions) -> Coactivation | None:
    """Return the co-activation of a layer's experts at the published k.

    ``None`` at a published k of 1, and without tokens. The conditional probability is the one of
    FLAME-MoE: tokens that chose i and j over the tokens that chose i, and 0 on the diagonal
    (``scripts/empirical_analysis/modules/expert_coactivation_step2.py``). Theirs is 0 in the row of
    an unused expert; here it is not known. The lift is added here.
    """
    import numpy as np

    if layer.published_k == 1 or not layer.n_tokens:
        return None
    joint = pair_counts(layer.chosen, layer.num_choices)
    counts = np.bincount(layer.chosen.ravel(), minlength=layer.num_choices)
    with np.errstate(invalid="ignore"):
        conditional = joint / counts[:, None]
    expected = expected_pairs(counts, layer.published_k)
    is_known = (expected >= options.min_expected) & ~np.eye(len(counts), dtype=np.bool_)
    lift = np.full_like(expected, np.nan)
    lift[is_known] = joint[is_known] / expected[is_known]
    return Coactivation(
        conditional=conditional.astype(np.float32),
        lift=lift.astype(np.float32),
        pairs=_largest(joint, lift, options.n_pairs),
        min_expected=options.min_expected,
    )


def pair_counts(chosen: NDArray[np.int16], num_choices: int) -> NDArray[np.int64]:
    """Return the tokens that chose both experts of each pair, ``(num_choices, num_choices)``.

    ``chosen`` has the experts of each token, ``(rows, k)``. The diagonal is 0.
    """
    import numpy as np

    wide = chosen.astype(np.int64)
    joint = np.zeros(num_choices * num_choices, dtype=np.int64)
    for first in range(wide.shape[1]):
        for second in range(first):
            pairs = wide[:, first] * num_choices + wide[:, second]
            joint += np.bincount(pairs, minlength=len(joint))
    square = joint.reshape(num_choices, num_choices)
    return square + square.T


def expected_pairs(counts: NDArray[np.int64], k: int) -> Array:
    """Return the tokens that each pair of experts has if only the loads matter, ``(n, n)``.

    ``counts`` has the tokens of each expert, ``(n,)``, of which each chose ``k`` different ones.
    For different experts it is ``w_i w_j``, with weights that give each expert as many pairs as it
    has, ``(k - 1) * counts``: quasi-independence, the model of a table without its diagonal
    (Goodman 1968, J. Am. Stat. Assoc. 63, 1091-1131), fitted by iterative scaling. The product of
    the loads, as for independent events, would be too large, as a token cannot choose an expert
    twice: random choices of 6 among 64 experts would have a lift of 0.85.
    """
    import numpy as np

    targets = (k - 1) * counts.astype(np.float64)
    weights = targets / np.sqrt(targets.sum())
    for _ in range(MAX_STEPS):
        others = weights.sum() - weights
        scaled = np.divide(targets, others, out=np.zeros_like(targets), where=others > 0)
        # The step as it is would swing between two solutions; its geometric mean does not.
        new = np.sqrt(weights * scaled)
        is_close = np.abs(new - weights).max() <= TOLERANCE * weights.max()
        weights = new
        if is_close:
            break
    expected = np.outer(weights, weights)
    np.fill_diagonal(expected, 0)
    return expected


def _largest(joint: NDArray[np.int64], lift: Array, n_pairs: int) -> tuple[ExpertPair, ...]:
    """Return the pairs with the largest lift, in the order of the lower ends of their intervals.

    Among many pairs of few tokens some have a large lift by chance, so that the order of the lift
    alone would show noise. The interval is that of a Poisson count: 1.96 times its square root.
    """
    import numpy as np

    firsts, seconds = np.triu_indices(len(joint), 1)
    values, counts = lift[firsts, seconds], joint[firsts, seconds]
    low = values * (1 - NORMAL_QUANTILE / np.sqrt(np.maximum(counts, 1)))
    order = np.argsort(-low, kind="stable")[:n_pairs]  # NaN comes last
    return tuple(
        ExpertPair(
            first=int(firsts[number]),
            second=int(seconds[number]),
            tokens=int(counts[number]),
            lift=float(values[number]),
        )
        for number in order
        if not np.isnan(values[number])
    )
