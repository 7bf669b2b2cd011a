from __future__ import annotations

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.layer_observation import LayerObservation, StepCount, TokenCount
from moe_eval_plugin.experts.layer_summary import LayerSummary, read_layers
from moe_eval_plugin.experts.observation import Observation
from moe_eval_plugin.json_object import JsonObject


def test_a_stored_observation_is_summarised_layer_by_layer() -> None:
    layer = LayerObservation(
        num_experts=4,
        num_zero_experts=0,
        tokens=(TokenCount("prefill", "text", 2, 3), TokenCount("decode", "text", 1, 1)),
        load=(4, 3, 0, 0),
        steps=(StepCount("prefill", 2, 5, 2, 3),),
    )
    observation = Observation({"layers.0.mlp": layer}, ())
    (found,) = read_layers(JsonObject(observation.to_dict()))
    assert (found.path, found.num_experts) == ("layers.0.mlp", 4)
    assert found.load_entropy == layer.load_entropy
    assert found.distinct_experts_per_prefill == 2.5
    assert found.distinct_experts_per_decode_step is None


def test_an_observation_without_layers_has_none() -> None:
    assert read_layers(JsonObject({"verification": "config"})) == ()


def test_a_layer_of_which_nothing_was_observed_is_all_unknown() -> None:
    found = read_layers(JsonObject({"layers": {"a": {}}}))
    assert found == (LayerSummary("a", None, None, None, None, None),)


def test_a_wrong_type_names_the_layer() -> None:
    data = JsonObject({"layers": {"a.b": {"load": 3}}}, "file.json", "routing")
    with pytest.raises(DataError, match=r"file\.json: routing\.layers\.a\.b\.load is 3"):
        read_layers(data)
