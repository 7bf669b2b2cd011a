from __future__ import annotations

from typing import Any

import pytest

from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.experts.description import MoEDescription, halves


@pytest.mark.parametrize(
    ("largest", "smallest", "expected"), [(8, 1, (8, 4, 2, 1)), (6, 1, (6, 3, 1)), (8, 3, (8, 4))]
)
def test_halves_of_k(largest: int, smallest: int, expected: tuple[int, ...]) -> None:
    assert halves(largest, smallest) == expected


def described(**changes: Any) -> MoEDescription:
    known: dict[str, Any] = {
        "model_type": "tiny",
        "is_moe": True,
        "num_experts": 8,
        "num_experts_per_tok": 4,
        "num_shared_experts": 0,
        "num_zero_experts": 0,
        "norm_topk_prob": None,
    }
    return MoEDescription(**{**known, **changes})


def test_every_expert_can_be_chosen_unless_something_limits_it() -> None:
    assert described().max_num_experts_per_tok == 8
    assert described(max_num_experts_per_tok=6).max_num_experts_per_tok == 6


def test_a_fixed_k_is_refused_with_its_reason() -> None:
    described().raise_if_fixed()
    with pytest.raises(UnsupportedFamilyError, match=r"tiny: it is so\. .*with its k of 4"):
        described(fixed_k_reason="it is so").raise_if_fixed()
