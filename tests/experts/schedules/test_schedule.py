"""``experts_k``: from the text of a user to a number that a model can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidExpertCountError, NotAnMoEError, UnsupportedFamilyError
from moe_eval_plugin.experts.description import MoEDescription
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.testing import tiny_config

if TYPE_CHECKING:
    from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule


def description(**changes: object) -> MoEDescription:
    known: dict[str, object] = {
        "model_type": "tiny",
        "is_moe": True,
        "num_experts": 8,
        "num_experts_per_tok": 4,
        "num_shared_experts": 0,
        "num_zero_experts": 0,
        "norm_topk_prob": True,
        "min_num_experts_per_tok": 1,
        "max_num_experts_per_tok": 8,
    }
    return MoEDescription(**{**known, **changes})  # type: ignore[arg-type]


def parsed(given: object) -> ExpertSchedule:
    schedule = parse_experts_k(given)
    assert schedule is not None
    return schedule


@pytest.mark.parametrize(("given", "k"), [(4, 4), ("4", 4), (" 4 ", 4), ("+4", 4), ("08", 8)])
def test_a_whole_number_is_read(given: object, k: int) -> None:
    schedule = parsed(given)
    assert schedule.resolve(description()).num_experts_per_tok == k


@pytest.mark.parametrize("k", [0, 9, 999])
def test_a_number_outside_the_experts_is_refused_with_the_range(k: int) -> None:
    schedule = parsed(k)
    with pytest.raises(InvalidExpertCountError, match="Use 1 to 8"):
        schedule.resolve(description())


def test_a_dense_model_has_no_k() -> None:
    schedule = parsed(4)
    with pytest.raises(NotAnMoEError, match="dense"):
        schedule.resolve(describe(tiny_config("qwen3")))


def test_a_router_with_a_fixed_k_is_refused_with_the_reason() -> None:
    schedule = parsed(1)
    with pytest.raises(UnsupportedFamilyError, match="two arg-max rounds"):
        schedule.resolve(describe(tiny_config("phimoe")))


def test_a_group_limit_is_the_largest_k() -> None:
    with pytest.raises(
        InvalidExpertCountError, match=r"a token can reach 6 of them.*too many.*Use 1 to 6"
    ):
        parsed(7).resolve(description(max_num_experts_per_tok=6))


def test_a_family_may_need_more_than_one_expert() -> None:
    with pytest.raises(InvalidExpertCountError, match="Use 2 to 8"):
        parsed(1).resolve(description(min_num_experts_per_tok=2))


def test_layers_are_counted_from_zero_and_both_ends_belong() -> None:
    resolved = parsed("0-1:8/2:4/3-9:1").resolve(description(), [1, 2, 3])
    assert [resolved.k_of(layer, "text", "prefill") for layer in (1, 2, 3)] == [8, 4, 1]
    assert not resolved.differs_by_modality
    assert resolved.num_experts_per_tok is None


def test_image_and_text_tokens_are_distinguished() -> None:
    resolved = parsed("text:8/image:2").resolve(description())
    assert resolved.k_of(5, "text", "prefill") == 8
    assert resolved.k_of(5, "text", "decode") == 8
    assert resolved.k_of(5, "image", "prefill") == 2
    assert resolved.differs_by_modality
    assert not resolved.differs_by_phase


def test_prefill_and_decode_are_distinguished() -> None:
    resolved = parsed("prefill:8/decode:4").resolve(description())
    assert resolved.k_of(None, "image", "prefill") == 8
    assert resolved.k_of(None, "text", "decode") == 4
    assert resolved.differs_by_phase
    assert not resolved.differs_by_modality


def test_the_last_part_that_fits_holds() -> None:
    resolved = parsed("8/image+2-3:2").resolve(description(), [0, 1, 2, 3])
    assert [resolved.k_of(layer, "image", "prefill") for layer in range(4)] == [8, 8, 2, 2]
    assert {resolved.k_of(layer, "text", "prefill") for layer in range(4)} == {8}


def test_a_schedule_that_is_the_same_everywhere_is_one_k() -> None:
    assert parsed("text:4/image:4").resolve(description()).num_experts_per_tok == 4


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("image:2", "sets no number of experts for text tokens in prefill"),
        ("prefill:4", "sets no number of experts for text tokens in decode"),
        ("1-2:4", "in layer 0"),
    ],
)
def test_tokens_that_no_part_covers_are_an_error_that_shows_the_way(given: str, what: str) -> None:
    with pytest.raises(InvalidExpertCountError, match=what) as caught:
        parsed(given).resolve(description(), [0, 1, 2])
    assert f"experts_k=8/{given}" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "idle"), [("8/4", "8"), ("8/image+decode:2", "image"), ("8/7-9:2", "7-9:2")]
)
def test_a_part_that_applies_to_no_token_is_an_error(given: str, idle: str) -> None:
    with pytest.raises(InvalidExpertCountError, match=f"The part {idle}"):
        parsed(given).resolve(description(), [0, 1, 2])


def test_a_schedule_by_layer_needs_the_layers() -> None:
    with pytest.raises(ValueError, match="moe_layers"):
        parsed("0-1:8/2:4").resolve(description())
