"""What is refused before vLLM starts, and what reaches it; no vLLM is needed for that."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin._vllm import EVERY_LAYER, KEY, k_of_layer, set_k_when_built
from moe_eval_plugin.errors import (
    InvalidArgumentError,
    InvalidExpertCountError,
    UnsupportedFamilyError,
)
from moe_eval_plugin.families import MoEDescription
from moe_eval_plugin.model_adapters.hf_settings import read_settings
from moe_eval_plugin.model_adapters.vllm_request import (
    VLLMOptions,
    _raise_if_fixed_in_vllm,
    check_request,
    engine_arguments,
)
from moe_eval_plugin.model_adapters.vllm_sampling import sampling_arguments
from moe_eval_plugin.model_adapters.vllm_times import (
    RequestTimes,
    request_phases,
    with_request_times,
)
from moe_eval_plugin.speed import summarise

if TYPE_CHECKING:
    from pathlib import Path

DEMO = VLLMOptions("demo", experts_k=2)
LAYER = "language_model.model.layers.{}.mlp.experts"


def test_the_reference_lists_every_argument_of_ours(repository_root: Path) -> None:
    from moe_eval_plugin.model_adapters.vllm_arguments import OPTIONS, RUN_OPTIONS

    page = (repository_root / "docs" / "reference" / "moe-vllm.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == {*OPTIONS, *RUN_OPTIONS}


def test_one_k_reaches_vllm_in_the_configuration_of_the_model() -> None:
    arguments = engine_arguments(DEMO, check_request(DEMO), "folder")
    assert arguments["hf_overrides"] == {KEY: {EVERY_LAYER: 2}}
    assert arguments["model"] == "folder"
    assert arguments["enable_prefix_caching"] is False


def test_a_k_for_each_layer_reaches_vllm_by_the_number_of_the_layer() -> None:
    options = replace(DEMO, experts_k="0-1:8/2-3:2")
    overrides = engine_arguments(options, check_request(options), "folder")["hf_overrides"]
    assert overrides == {KEY: {"0": 8, "1": 8, "2": 2, "3": 2}}
    assert [k_of_layer(overrides[KEY], LAYER.format(n)) for n in range(5)] == [8, 8, 2, 2, None]


def test_a_model_as_published_gets_no_key() -> None:
    options = replace(DEMO, experts_k=None)
    assert "hf_overrides" not in engine_arguments(options, check_request(options), "folder")


def test_other_overrides_of_the_user_stay() -> None:
    text = '{"text_config": {"rope_theta": 5000}}'
    options = replace(DEMO, engine={"hf_overrides": text, "max_model_len": 64})
    arguments = engine_arguments(options, check_request(options), "folder")
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
        check_request(replace(DEMO, experts_k=k))


@pytest.mark.parametrize("k", [0, 33])
def test_a_k_that_the_routers_cannot_use_is_refused(k: int) -> None:
    with pytest.raises(InvalidExpertCountError, match="Use 1 to 32"):
        check_request(replace(DEMO, experts_k=k))


@pytest.mark.parametrize("model_type", ["llama4", "phimoe"])
def test_families_whose_k_is_fixed_in_vllm_are_refused(model_type: str) -> None:
    description = MoEDescription(model_type, True, 16, 1, 0, 0, None)  # noqa: FBT003
    with pytest.raises(UnsupportedFamilyError, match=f"{model_type} in vLLM"):
        _raise_if_fixed_in_vllm(description)
    _raise_if_fixed_in_vllm(replace(description, model_type="qwen3_moe"))


@pytest.mark.needs_vllm
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("max_num_seq=4", r"Did you mean max_num_seqs\?"),
        ("experts_policy=top-p:0.9", "Use --model moe_hf"),
        ("model=other", "Name the model with pretrained="),
    ],
)
def test_a_name_that_vllm_cannot_take_is_refused(arguments: str, message: str) -> None:
    from moe_eval_plugin.model_adapters.arguments import parse_arg_string
    from moe_eval_plugin.model_adapters.vllm_arguments import parse_arguments

    with pytest.raises(InvalidArgumentError, match=message):
        parse_arguments(parse_arg_string(f"pretrained=demo,{arguments}"))


def test_data_parallel_and_unknown_verification_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="tensor_parallel_size"):
        VLLMOptions("demo", engine={"data_parallel_size": 2})
    with pytest.raises(InvalidArgumentError, match="observe, config"):
        VLLMOptions("demo", verify="no")


def test_a_vllm_without_the_factory_is_left_alone() -> None:
    module = ModuleType("layer")
    before = dict(vars(module))
    set_k_when_built(module)
    assert vars(module) == before


def test_greedy_answers_end_where_the_task_says() -> None:
    settings = read_settings({"max_new_tokens": 7, "until": ["\n\n"], "top_p": 0.3}, 128)
    arguments = sampling_arguments(settings, {"repetition_penalty": 1.05, "top_k": 3}, 5)
    assert arguments == {
        "max_tokens": 7,
        "min_tokens": 0,
        "repetition_penalty": 1.05,
        "stop": ["\n\n"],
        "temperature": 0.0,
    }


def test_sampling_takes_the_settings_of_the_task_and_the_seed_of_the_run() -> None:
    settings = read_settings({"temperature": 0.7, "top_p": 0.9, "do_sample": True}, 128)
    arguments = sampling_arguments(settings, {}, 5)
    assert (arguments["temperature"], arguments["top_p"], arguments["seed"]) == (0.7, 0.9, 5)
    assert "top_k" not in arguments


def test_beam_search_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no beam search"):
        sampling_arguments(read_settings({"num_beams": 4}, 128), {}, 0)


stamps = st.lists(st.floats(0, 1e3), min_size=4, max_size=4).map(sorted)


@given(stamps, st.integers(1, 50))
def test_the_parts_of_a_request_fill_its_time_in_the_engine(
    at: list[float], n_output_tokens: int
) -> None:
    stats = SimpleNamespace(
        queued_ts=at[0],
        scheduled_ts=at[1],
        first_token_ts=at[2],
        last_token_ts=at[3],
    )
    times = RequestTimes.read(stats, 9, n_output_tokens)
    parts = (times.queue_s, times.prefill_s, times.decode_s)
    assert sum(parts) == pytest.approx(at[3] - at[0])
    assert times.ttft_s == pytest.approx(at[2] - at[0])
    assert times.e2e_latency_s == pytest.approx(at[3] - at[0])
    if n_output_tokens == 1:
        assert times.tpot_s is None
    else:
        assert times.tpot_s * (n_output_tokens - 1) == pytest.approx(times.decode_s)


def test_what_was_not_measured_is_none_and_never_0() -> None:
    times = [RequestTimes.read(None, 5, 2), RequestTimes.read(None, 6, 1)]
    batches = [one.as_batch("easy_vqa", wall_s=1.0) for one in times]
    speed = with_request_times(summarise([batches])["easy_vqa"], times)
    assert (speed.n_input_tokens, speed.n_output_tokens, speed.n_decoded_tokens) == (11, 3, 1)
    assert speed.samples_per_s == 1.0
    assert speed.ttft_s is speed.e2e_latency_s is None
    assert set(request_phases(times).values()) == {None}


def test_the_table_of_fixed_families_names_families_that_exist() -> None:
    from moe_eval_plugin.families import table
    from moe_eval_plugin.model_adapters.vllm_request import FIXED_IN_VLLM

    assert set(FIXED_IN_VLLM) <= set(table())
