from __future__ import annotations

import pytest

from moe_eval_plugin.experts.description import halves


@pytest.mark.parametrize(
    ("largest", "smallest", "expected"), [(8, 1, (8, 4, 2, 1)), (6, 1, (6, 3, 1)), (8, 3, (8, 4))]
)
def test_halves_of_k(largest: int, smallest: int, expected: tuple[int, ...]) -> None:
    assert halves(largest, smallest) == expected
