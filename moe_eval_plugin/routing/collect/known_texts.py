"""Which tokens of a question were recorded before, so that each is recorded once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


class KnownTexts:
    """The texts of each question that the model was called with.

    A multiple-choice question has a text for each choice, which all begin with its prompt. The
    model computes the same for the same beginning, so that counting it for each choice would weigh
    prompts by the number of their choices.
    """

    def __init__(self) -> None:
        self._texts: dict[Hashable, list[tuple[int, ...]]] = defaultdict(list)

    def add(self, question: Hashable, tokens: Sequence[int]) -> int:
        """Add a text of a question; return how many of its first tokens an earlier one has."""
        known = self._texts[question]
        longest = max((_n_common(text, tokens) for text in known), default=0)
        known.append(tuple(tokens))
        return longest


def _n_common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the common beginning of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
