from __future__ import annotations

import json

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.layer_observation import LayerObservation, StepCount, TokenCount
from moe_eval_plugin.experts.layer_summary import read_layers
from moe_eval_plugin.experts.observation import InputTokenCount, Observation
from moe_eval_plugin.json_object import JsonObject


def stored(observation: Observation) -> JsonObject:
    return JsonObject(json.loads(json.dumps(observation.to_dict())))


def test_a_summary_is_read_back_from_what_an_observation_stores() -> None:
    tokens = (TokenCount("decode", "text", 1, 2), TokenCount("prefill", "image", 4, 6))
    steps = (StepCount("decode", 2, 6, 2, 4), StepCount("prefill", 1, 7, 7, 7))
    layer = LayerObservation(8, 0, None, tokens, tokens, (1,) * 8, steps)
    input_tokens = (InputTokenCount("decode", "text", 2), InputTokenCount("prefill", "image", 6))
    observation = Observation({"layers.0.mlp.experts": layer}, input_tokens)
    (summary,) = read_layers(stored(observation))
    assert (summary.path, summary.num_experts) == ("layers.0.mlp.experts", 8)
    assert summary.observed_num_experts_per_tok == observation.mean_k() == 26 / 8
    assert summary.distinct_experts_per_decode_step == 3
    assert summary.distinct_experts_per_prefill == 7
    assert summary.load_entropy == pytest.approx(1)


def test_a_layer_that_no_token_reached_has_no_averages() -> None:
    (summary,) = read_layers(stored(Observation({"mlp": LayerObservation(8, 0)})))
    assert summary.observed_num_experts_per_tok is None
    assert summary.distinct_experts_per_prefill is summary.load_entropy is None


def test_without_layers_there_is_no_summary_and_a_wrong_type_is_an_error() -> None:
    assert read_layers(JsonObject({})) == ()
    with pytest.raises(DataError, match="num_experts"):
        read_layers(JsonObject({"layers": {"mlp": {"num_experts": "8"}}}))
