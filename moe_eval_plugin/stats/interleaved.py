"""Design of interleaved timing: the order of the settings in each block, and when to stop.

A block times every setting on the same work, one after the other, so a block yields one ratio per
setting whose two times lie moments apart. What slows a machine for longer than a block slows both.
What is shorter, or returns with a period, must not meet the same setting again and again: that is
what the order is for.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moe_eval_plugin.stats.speed import SpeedRatio

MIN_BLOCKS = 8


def block_order(settings: Sequence[str], number: int, seed: int = 0) -> tuple[str, ...]:
    """Return the order in which a block times the settings.

    ``number`` counts the blocks from 0. As many blocks as there are settings form a square in which
    each setting has each position once. For an even number of settings each follows each other one
    once too (Williams 1949, doi:10.1071/CH9490149); for an odd number this takes two squares, one
    the reverse of the other. Which setting has which part of the square is drawn anew for each
    square, from ``seed``: a disturbance whose period is that of the squares meets another setting
    each time.
    """
    n = len(settings)
    square, row = divmod(number, n)
    drawn = list(settings)
    # Both squares of a pair have the same parts, so that together they hold each succession.
    pair = square // 2 if n % 2 else square
    random.Random(f"{seed} {pair}").shuffle(drawn)  # noqa: S311  (a design, and no secret)
    steps = [(position + 1) // 2 * (-1) ** position for position in range(n)]
    order = tuple(drawn[(row - step) % n] for step in steps)
    return order[::-1] if n % 2 and square % 2 else order


def is_precise(ratios: Iterable[SpeedRatio | None], precision: float) -> bool:
    """Whether the ratios of all settings are known well enough to stop.

    Each needs the ratios of at least ``MIN_BLOCKS`` blocks and an interval that is narrower than
    ``precision``, as a share of the ratio. With no ratios at all (the baseline alone) it is true.
    """
    return all(
        one is not None
        and (one.n_pairs or 0) >= MIN_BLOCKS
        and one.width is not None
        and one.width < precision
        for one in ratios
    )
