"""``experts_k``: from the text of a user to a number that a model can use."""

from __future__ import annotations

import pytest

from moe_eval_plugin.errors import (
    InvalidExpertCountError,
    NotAnMoEError,
    UnsupportedFamilyError,
)
from moe_eval_plugin.families import MoEDescription, describe
from moe_eval_plugin.spec import parse_experts_k
from moe_eval_plugin.testing import tiny_config


def description(**changes: object) -> MoEDescription:
    known: dict[str, object] = {
        "model_type": "tiny",
        "is_moe": True,
        "num_experts": 8,
        "num_experts_per_tok": 4,
        "num_shared_experts": 0,
        "num_zero_experts": 0,
        "norm_topk_prob": True,
    }
    return MoEDescription(**{**known, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "k"), [(4, 4), ("4", 4), (" 4 ", 4), ("+4", 4), ("08", 8)])
def test_a_whole_number_is_read(given: object, k: int) -> None:
    schedule = parse_experts_k(given)
    assert schedule is not None
    assert schedule.resolve(description()).num_experts_per_tok == k


@pytest.mark.parametrize("given", [None, ""])
def test_nothing_given_means_the_model_as_published(given: object) -> None:
    assert parse_experts_k(given) is None


@pytest.mark.parametrize("given", ["four", "4.0", 4.0, True, "-1", "4,5", "٤", "1e1", [4]])
def test_anything_else_is_refused_with_the_value(given: object) -> None:
    with pytest.raises(InvalidExpertCountError) as caught:
        parse_experts_k(given)
    assert str(given) in str(caught.value)
    assert "experts_k=4" in str(caught.value)


@pytest.mark.parametrize("k", [0, 9, 999])
def test_a_number_outside_the_experts_is_refused_with_the_range(k: int) -> None:
    schedule = parse_experts_k(k)
    assert schedule is not None
    with pytest.raises(InvalidExpertCountError, match="Use 1 to 8"):
        schedule.resolve(description())


def test_a_dense_model_has_no_k() -> None:
    schedule = parse_experts_k(4)
    assert schedule is not None
    with pytest.raises(NotAnMoEError, match="dense"):
        schedule.resolve(describe(tiny_config("qwen3")))


def test_a_router_with_a_fixed_k_is_refused_with_the_reason() -> None:
    schedule = parse_experts_k(1)
    assert schedule is not None
    with pytest.raises(UnsupportedFamilyError, match="two arg-max rounds"):
        schedule.resolve(describe(tiny_config("phimoe")))
