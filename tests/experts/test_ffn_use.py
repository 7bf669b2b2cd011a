from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.ffn_use import FFNUse, ffn_use
from moe_eval_plugin.experts.layer_observation import LayerObservation, TokenCount, merge_layers
from moe_eval_plugin.experts.observation import InputTokenCount, Observation
from moe_eval_plugin.experts.verification import VerifiedOverride, verify
from moe_eval_plugin.json_object import JsonObject

KINDS = ("constant", "constant", "copy", "zero")
# Ten tokens at k=2: one computes no FFN, four compute one and five two.
LAYER = LayerObservation(
    num_experts=3,
    num_zero_experts=4,
    tokens=(TokenCount("prefill", "text", 2, 10),),
    ffn_tokens=(
        TokenCount("prefill", "text", 0, 1),
        TokenCount("prefill", "text", 1, 4),
        TokenCount("prefill", "text", 2, 5),
        TokenCount("prefill", "padding", 0, 90),
    ),
    load=(6, 4, 4, 1, 0, 3, 2),
    zero_expert_kinds=KINDS,
)
DENSE = LayerObservation(3, 0, tokens=(TokenCount("prefill", "text", 2, 10),), load=(7, 7, 6))
USE = FFNUse(2.0, 1.4, 0, 2, {"ffn": 0.7, "constant": 0.05, "copy": 0.15, "zero": 0.1})


def stored(*layers: LayerObservation) -> dict[str, Any]:
    """Return what a results file holds of these layers, after a round trip through JSON."""
    observation = Observation(
        {f"layers.{n}.mlp": layer for n, layer in enumerate(layers)},
        (InputTokenCount("prefill", "text", 10),),
    )
    found: dict[str, Any] = json.loads(json.dumps(verify(None, 2, observation).to_dict()))
    return found


def test_ffn_k_and_shares_are_those_of_text_and_image_tokens() -> None:
    assert LAYER.ffn_use == USE
    assert USE.zero_computation == pytest.approx(0.3)
    assert DENSE.ffn_use is None


@pytest.mark.parametrize(
    ("histogram", "low", "high"),
    [
        ({1: 10}, 1, 1),
        ({0: 1, 1: 9}, 0, 1),  # exactly a tenth
        ({0: 1, 1: 8, 2: 1}, 0, 1),  # exactly nine tenths
        ({0: 99, 1: 800, 2: 101}, 1, 2),
    ],
)
def test_percentiles_are_numbers_of_experts(histogram: dict[int, int], low: int, high: int) -> None:
    use = ffn_use(Counter({2: 10}), Counter(histogram), {"ffn": 1})
    assert use is not None
    assert (use.p10, use.p90) == (low, high)


def test_a_record_has_them_by_layer_and_in_all_where_some_experts_compute_nothing() -> None:
    record = stored(LAYER, LAYER, DENSE)
    layers = record["routing"]["layers"]
    assert layers["layers.0.mlp"]["ffn_use"] == USE.to_dict()
    assert "ffn_use" not in layers["layers.2.mlp"]
    found = VerifiedOverride.from_dict(JsonObject(record))
    assert found.ffn_use == USE
    assert [layer.ffn_use for layer in found.layers] == [USE, USE, None]


def test_a_record_of_a_family_without_such_experts_is_as_before() -> None:
    record = stored(DENSE)
    assert "ffn_use" not in record["routing"]
    assert VerifiedOverride.from_dict(JsonObject(record)).ffn_use is None


def test_a_share_that_is_no_number_is_an_error() -> None:
    record = stored(LAYER)
    record["routing"]["ffn_use"]["shares"]["zero"] = "many"
    with pytest.raises(DataError, match="zero"):
        VerifiedOverride.from_dict(JsonObject(record))


def test_kinds_survive_another_process_and_the_sum_of_ranks() -> None:
    sent = LayerObservation.from_state(json.loads(json.dumps(LAYER.to_state())))
    assert sent == LAYER
    both = merge_layers([sent, LAYER])
    assert both.chosen_kinds == {"ffn": 28, "constant": 2, "copy": 6, "zero": 4}
    assert both.ffn_use == USE


def test_experts_of_no_known_kind_count_as_one_kind() -> None:
    layer = LayerObservation(2, 2, load=(5, 5, 5, 5))
    assert layer.chosen_kinds == {"ffn": 10, "no_ffn": 10}
