"""Order of the rows of a layer's trace: by sequence, as the tokens are, or by position.

A router of Megatron-LM sees the tokens of a micro-batch ordered by position: those at position 0 of
all its sequences, then those at position 1. Token ids are ordered by sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Micro-batches of FLAME-MoE's captures are 4 (1.7B) and 8 (290M, 721M) sequences.
MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
MIN_COUNT = 50
# What the right order must explain more of the choices than the order as it is.
MIN_GAIN = 0.05


def by_sequence(n_rows: int, micro_batch: int) -> NDArray[np.int64]:
    """Return the rows of one micro-batch in the order of its sequences, ``(n_rows,)``.

    ``n_rows`` is a multiple of ``micro_batch``, the number of sequences.
    """
    import numpy as np

    return np.arange(n_rows).reshape(-1, micro_batch).T.ravel()


def rows_by_sequence(n_rows: int, micro_batch: int, sequence_length: int) -> NDArray[np.int64]:
    """Return the rows of many micro-batches in the order of their sequences, ``(n_rows,)``.

    Rows after the last whole micro-batch stay where they are.
    """
    import numpy as np

    size = micro_batch * sequence_length
    starts = np.arange(0, n_rows - size + 1, size)
    rows = (starts[:, None] + by_sequence(size, micro_batch)).ravel()
    return np.concatenate([rows, np.arange(len(rows), n_rows)])


def find_micro_batch(
    token_ids: NDArray[np.int32],
    experts: NDArray[np.int16],
    num_experts: int,
    sequence_length: int,
) -> int:
    """Return the micro-batch whose order fits the tokens best; 1 if the rows fit as they are.

    ``experts`` are those of the first MoE layer, ``(n_tokens, k)``. Its router still sees mostly
    the token itself, so that in the right order the same token goes to the same experts far more
    often than in a wrong one. Another order than the one at hand is returned only if it explains
    5 points more of the choices.
    """
    n_tokens = len(token_ids)
    gains = {
        size: _explained(
            token_ids[: n_tokens // block * block],
            experts[rows_by_sequence(n_tokens // block * block, size, sequence_length)],
            num_experts,
        )
        for size in MICRO_BATCHES
        if (block := size * sequence_length) <= n_tokens
    }
    best = max(gains, key=gains.__getitem__, default=1)
    return best if gains and gains[best] - gains.get(1, 0.0) >= MIN_GAIN else 1


def _explained(token_ids: NDArray[np.int32], experts: NDArray[np.int16], num_experts: int) -> float:
    """Return the share of the frequent tokens' choices that are their own k experts."""
    import numpy as np

    k = experts.shape[1]
    codes, counts = np.unique(token_ids, return_inverse=True, return_counts=True)[1:]
    is_frequent = counts >= MIN_COUNT
    if not is_frequent.any():
        return 0.0
    cells = (codes[:, None] * num_experts + experts)[is_frequent[codes]]
    table = np.bincount(cells.ravel(), minlength=len(counts) * num_experts)
    own = np.sort(table.reshape(-1, num_experts)[is_frequent], axis=1)[:, -k:].sum()
    return float(own / cells.size)
