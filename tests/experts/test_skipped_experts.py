from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.layer_observation import LayerObservation, TokenCount
from moe_eval_plugin.experts.observation import InputTokenCount, Observation
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.experts.skipped_experts import SkippedExperts
from moe_eval_plugin.experts.verification import VerifiedOverride, verify
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.testing import tiny_moe

if TYPE_CHECKING:
    from moe_eval_plugin.experts.description import MoEDescription

TOKENS = (
    InputTokenCount("prefill", "text", 4),
    InputTokenCount("prefill", "image", 2),
    InputTokenCount("decode", "text", 2),
)
# Of k = 4 for text and 2 for image in prefill, and 3 in decode.
FIRST = LayerObservation(
    8,
    tokens=(
        TokenCount("prefill", "text", 4, 3),
        TokenCount("prefill", "text", 1, 1),
        TokenCount("prefill", "image", 1, 2),
        TokenCount("prefill", "padding", 1, 50),
        TokenCount("decode", "text", 3, 1),
        TokenCount("decode", "text", 1, 1),
    ),
)
ONLY_TEXT = LayerObservation(
    8,
    modality="text",
    tokens=(TokenCount("prefill", "text", 2, 4), TokenCount("decode", "text", 3, 2)),
)
SCHEDULE = "text+prefill:4/image:2/decode:3"


def describe_tiny() -> MoEDescription:
    return describe(tiny_moe("qwen3_moe").config)


def stored(rule: RoutingRule) -> JsonObject:
    """Return what a results file holds, after a round trip through JSON."""
    schedule = parse_experts_k(SCHEDULE)
    assert schedule is not None
    observation = Observation({"layers.0.mlp": FIRST, "layers.1.mlp": ONLY_TEXT}, TOKENS)
    verified = verify(schedule.resolve(describe_tiny()), 4, observation, rule)
    return JsonObject(json.loads(json.dumps(verified.to_dict())))


def test_the_shares_are_of_the_experts_that_the_router_chose() -> None:
    found = VerifiedOverride.from_dict(stored(RoutingRule("top_p", (0.5,))))
    first, second = found.layers
    # Text: 13 of 16 in prefill, 4 of 6 in decode. Image: 2 of 4.
    assert first.skipped_experts == SkippedExperts(
        pytest.approx(1 - 19 / 26), pytest.approx(1 - 17 / 22), 0.5
    )
    assert second.skipped_experts == SkippedExperts(
        pytest.approx(8 / 22), pytest.approx(8 / 22), None
    )
    assert found.skipped_experts == SkippedExperts(
        pytest.approx(1 - 33 / 48), pytest.approx(1 - 31 / 44), 0.5
    )


def test_a_record_without_a_policy_is_as_before() -> None:
    schedule = parse_experts_k(2)
    assert schedule is not None
    observation = Observation(
        {"layers.0.mlp": LayerObservation(8, tokens=(TokenCount("prefill", "text", 2, 4),))},
        (InputTokenCount("prefill", "text", 4),),
    )
    verified = verify(schedule.resolve(describe_tiny()), 4, observation)
    assert "skipped_experts" not in json.dumps(verified.to_dict())
    assert verified.skipped_experts is None


def test_shares_of_another_type_are_refused_when_the_file_is_read() -> None:
    record = stored(RoutingRule("top_p", (0.5,)))
    record.values["routing"]["layers"]["layers.0.mlp"]["skipped_experts"]["share"] = "a lot"
    with pytest.raises(DataError, match=r"routing.layers.*skipped_experts.share"):
        VerifiedOverride.from_dict(record)
