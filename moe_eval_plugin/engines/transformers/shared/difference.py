"""Compare the logits of one computation that shares something with those of one that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

# Largest difference of logits, as a share of the largest logit. With few bits, tokens near a tie
# are routed to other experts, as they are in another batch.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
TOLERANCE_OF_FEW_BITS = 0.1


def compare_logits(expected: Tensor, found: Tensor, dtype: torch.dtype) -> str | None:
    """Return by how much logits differ that should be equal; ``None`` where they are."""
    tolerance = TOLERANCE.get(dtype, TOLERANCE_OF_FEW_BITS)
    finite = expected.isfinite() & found.isfinite()
    difference = (expected - found)[finite].abs().max()
    largest = expected[finite].abs().max()
    if difference <= tolerance * largest:
        return None
    return (
        f"the logits after a shared prefix differ from those without by {float(difference):.2g}, "
        f"and the largest one is {float(largest):.2g}"
    )
