"""What is refused before vLLM starts, and what reaches it; no vLLM is needed for that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moe_eval_plugin.engines.vllm.options import (
    VLLMOptions,
    _raise_if_fixed_in_vllm,
    check_vllm_request,
    engine_arguments,
)
from moe_eval_plugin.engines.vllm.set_k import EVERY_LAYER, KEY, k_of_layer
from moe_eval_plugin.errors import (
    InvalidArgumentError,
    InvalidExpertCountError,
    UnsupportedFamilyError,
)
from moe_eval_plugin.experts.description import MoEDescription

DEMO = VLLMOptions("demo", experts_k=2)


LAYER = "language_model.model.layers.{}.mlp.experts"


def test_one_k_reaches_vllm_in_the_configuration_of_the_model() -> None:
    arguments = engine_arguments(DEMO, check_vllm_request(DEMO), "folder")
    assert arguments["hf_overrides"] == {KEY: {EVERY_LAYER: 2}}
    assert arguments["model"] == "folder"


def test_vllm_chooses_its_caches_unless_nothing_may_be_shared() -> None:
    caches = {"enable_prefix_caching", "mm_processor_cache_gb"}
    request = check_vllm_request(DEMO)
    assert not caches & engine_arguments(DEMO, request, "folder").keys()
    alone = replace(DEMO, share_images="no")
    assert caches <= engine_arguments(alone, request, "folder").keys()
    for given in ({"enable_prefix_caching": True}, {"mm_processor_cache_gb": 4.0}):
        with pytest.raises(InvalidArgumentError, match="not possible with share_images=no"):
            replace(alone, engine=given)
        arguments = engine_arguments(replace(DEMO, engine=given), request, "folder")
        assert given.items() <= arguments.items()
    assert replace(alone, engine={"enable_prefix_caching": False}).share_images == "no"


def test_a_k_for_each_layer_reaches_vllm_by_the_number_of_the_layer() -> None:
    options = replace(DEMO, experts_k="0-1:8/2-3:2")
    overrides = engine_arguments(options, check_vllm_request(options), "folder")["hf_overrides"]
    assert overrides == {KEY: {"0": 8, "1": 8, "2": 2, "3": 2}}
    assert [k_of_layer(overrides[KEY], LAYER.format(n)) for n in range(5)] == [8, 8, 2, 2, None]


def test_a_model_as_published_gets_no_key() -> None:
    options = replace(DEMO, experts_k=None)
    assert "hf_overrides" not in engine_arguments(options, check_vllm_request(options), "folder")


def test_other_overrides_of_the_user_stay() -> None:
    text = '{"text_config": {"rope_theta": 5000}}'
    options = replace(DEMO, engine={"hf_overrides": text, "max_model_len": 64})
    arguments = engine_arguments(options, check_vllm_request(options), "folder")
    assert arguments["hf_overrides"]["text_config"] == {"rope_theta": 5000}
    assert arguments["max_model_len"] == 64


@pytest.mark.parametrize(
    "overrides",
    ['{"num_experts_per_tok": 2}', {"text_config": {"num_experts_per_tok": 2}}, {KEY: 2}],
)
def test_a_k_written_by_hand_is_refused_with_the_right_form(overrides: object) -> None:
    with pytest.raises(InvalidArgumentError, match="Write experts_k=2 instead"):
        VLLMOptions("demo", engine={"hf_overrides": overrides})


def test_overrides_that_are_no_json_object_are_refused() -> None:
    for text in ("{half", "[1, 2]"):
        with pytest.raises(InvalidArgumentError, match="hf_overrides"):
            VLLMOptions("demo", engine={"hf_overrides": text})


@pytest.mark.parametrize("k", ["text:8/image:2", "prefill:8/decode:4"])
def test_a_k_by_kind_of_token_is_refused_with_the_reason(k: str) -> None:
    with pytest.raises(InvalidExpertCountError, match="routes all tokens of a step in one call"):
        check_vllm_request(replace(DEMO, experts_k=k))


@pytest.mark.parametrize("k", [0, 33])
def test_a_k_that_the_routers_cannot_use_is_refused(k: int) -> None:
    with pytest.raises(InvalidExpertCountError, match="Use 1 to 32"):
        check_vllm_request(replace(DEMO, experts_k=k))


@pytest.mark.parametrize("model_type", ["llama4", "phimoe"])
def test_families_whose_k_is_fixed_in_vllm_are_refused(model_type: str) -> None:
    description = MoEDescription(model_type, True, 16, 1, 0, 0, None)  # noqa: FBT003
    with pytest.raises(UnsupportedFamilyError, match=f"{model_type} in vLLM"):
        _raise_if_fixed_in_vllm(description)
    _raise_if_fixed_in_vllm(replace(description, model_type="qwen3_moe"))


def test_data_parallel_and_unknown_verification_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="tensor_parallel_size"):
        VLLMOptions("demo", engine={"data_parallel_size": 2})
    with pytest.raises(InvalidArgumentError, match="observe, config"):
        VLLMOptions("demo", verify="no")


def test_the_table_of_fixed_families_names_families_that_exist() -> None:
    from moe_eval_plugin.engines.vllm.options import FIXED_IN_VLLM
    from moe_eval_plugin.models.families import table

    assert set(FIXED_IN_VLLM) <= set(table())
