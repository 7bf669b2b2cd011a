"""Choose the questions of a timed pass, and divide them into blocks."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

# The default budget is the time of 1,000 questions: within it no question is timed twice, so that
# intervals cover the choice of questions too, as answers of different lengths take different times.
LARGEST_SAMPLE = 1024
# Each round over engines times its whole sample: three of them, as is usual, take as many in all.
LARGEST_SAMPLE_OF_ROUNDS = LARGEST_SAMPLE // 3
# Fewer questions in a block take too little time to be compared.
QUESTIONS_OF_A_BLOCK = 16


def choose_sample(n_questions: int, seed: int, largest: int = LARGEST_SAMPLE) -> tuple[int, ...]:
    """Return the sorted positions of the questions to time: ``largest``, or all of fewer."""
    n = min(largest, n_questions)
    return tuple(sorted(Random(seed).sample(range(n_questions), n)))  # noqa: S311  (no secret)


def make_blocks(
    batches: Sequence[Sequence[T]], batch_size: int, seed: int
) -> list[list[Sequence[T]]]:
    """Divide batches into blocks of about 16 questions, in an order that the seed chooses.

    ``batches`` of one size each fill the batch size; smaller ones are left out unless there are no
    others, because a rate is that of its batch size.
    """
    full = [batch for batch in batches if len(batch) >= batch_size]
    chosen = list(full or batches)
    # Sorted by length they would make the first blocks differ from the last.
    Random(seed).shuffle(chosen)  # noqa: S311  (no secret)
    n = max(1, math.ceil(QUESTIONS_OF_A_BLOCK / batch_size))
    return [chosen[begin : begin + n] for begin in range(0, len(chosen), n)]
