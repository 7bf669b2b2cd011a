from __future__ import annotations

from typing import Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.demo import MODEL_PATH


@pytest.mark.needs_vllm
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("max_num_seq=4", r"Did you mean max_num_seqs\?"),
        ("experts_policy=top-p:0.9", "Use --model moe_hf"),
        ("model=other", "Name the model with pretrained="),
        ("enforce_eager=maybe", "enforce_eager=maybe is not possible. Use true or false"),
        ("max_num_seqs=4.5", "max_num_seqs=4.5 is not possible. Use a whole number"),
        ("gpu_memory_utilization=nan", "gpu_memory_utilization=nan is not possible"),
        ("kv_cache_dtype=x", "Use one of: auto, bfloat16"),
        ("limit_mm_per_prompt=image", "vLLM does not accept it"),
        ("limit_mm_per_prompt={half", "cannot be read as JSON"),
        ('hf_overrides={"a":1,"a":2}', "a is given more than once in hf_overrides"),
        ("trust_remote_code=perhaps", "Use true or false"),
        ("max_num_seqs=", "max_num_seqs has no value"),
        ("max_num_seqs=4,max_num_seqs=8", "max_num_seqs is given more than once"),
        ("device=tpu", "device=tpu is not possible: this vLLM was built for"),
        ("max_batch_size=4", "vLLM makes its own batches"),
        ("revision=", "revision has no value"),
        ("min_pixels=100,max_pixels=10", "no image has a size between them"),
    ],
)
def test_a_name_that_vllm_cannot_take_is_refused(arguments: str, message: str) -> None:
    from moe_eval_plugin.hosts.shared.arguments import read_model_args
    from moe_eval_plugin.model_adapters.vllm_arguments import parse_arguments

    with pytest.raises(InvalidArgumentError, match=message):
        parse_arguments(read_model_args(f"pretrained=demo,{arguments}"))


@pytest.mark.needs_vllm
def test_text_reaches_vllm_as_what_it_says() -> None:
    from moe_eval_plugin.hosts.shared.arguments import read_model_args
    from moe_eval_plugin.model_adapters.vllm_arguments import parse_arguments

    text = (
        "pretrained=demo,trust_remote_code=no,enforce_eager=no,enable_prefix_caching=On,"
        'max_num_seqs=4,max_model_len=4k,limit_mm_per_prompt={"image": 1},revision=0004'
    )
    options, _ = parse_arguments(read_model_args(text))
    assert (options.trust_remote_code, options.revision) == (False, "0004")
    assert {name: value for name, value in options.engine.items() if name != "seed"} == {
        "enforce_eager": False,
        "enable_prefix_caching": True,
        "max_num_seqs": 4,
        "max_model_len": 4000,
        "limit_mm_per_prompt": {"image": 1},
    }


@pytest.mark.needs_vllm
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data_parallel_size": 2}, "data_parallel_size=2 is not possible"),
        ({"experts_policy": "top-p:0.9"}, "Use --model moe_hf"),
        ({"expert_k": 2}, r"Did you mean experts_k\?"),
        ({"max_lenght": 64}, r"Did you mean max_length\?"),
        ({"max_images": 2}, "max_images is not an argument of moe_vllm"),
        ({"model": "other"}, "Name the model with pretrained="),
        ({"hf_overrides": {"num_experts_per_tok": 2}}, "Write experts_k=2 instead"),
        ({"verify": "no"}, "Use one of: observe, config"),
        ({"device": "cuda:1"}, "this vLLM was built for cpu"),
    ],
)
def test_what_lm_eval_cannot_run_is_refused(arguments: dict[str, Any], message: str) -> None:
    from moe_eval_plugin.model_adapters.lm_eval_vllm import MoEVLLM

    with pytest.raises(InvalidArgumentError, match=message):
        MoEVLLM.check_arguments({"pretrained": "demo", **arguments})


@pytest.mark.needs_vllm
def test_lm_eval_is_refused_in_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from moe_eval_plugin.model_adapters.lm_eval_vllm import MoEVLLM

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidArgumentError, match="Start it once"):
        MoEVLLM(pretrained="demo")


@pytest.mark.needs_vllm
def test_arguments_of_lm_eval_reach_whoever_reads_them() -> None:
    from moe_eval_plugin.engines.vllm.options import check_vllm_request
    from moe_eval_plugin.model_adapters.lm_eval_vllm_arguments import parse_arguments
    from moe_eval_plugin.model_adapters.lm_eval_vllm_classes import VLLM_VLM

    given = {"pretrained": "demo", "experts_k": 2, "verify": "config", "device": "cpu"}
    kept = {
        "batch_size": "1",
        "max_images": 2,
        "max_gen_toks": 32,
        "think_end_token": "</think>",
        "dtype": "float32",
        "max_num_seqs": 4,
        "enable_prefix_caching": True,
        "seed": 7,
    }
    found = parse_arguments({**given, **kept}, VLLM_VLM)
    assert (found.options.experts_k, found.options.verify) == (2, "config")
    arguments = found.for_host(check_vllm_request(found.options))
    assert kept.items() <= arguments.items()
    assert not {"experts_k", "verify", "device"} & arguments.keys()
    assert arguments["pretrained"] == str(MODEL_PATH)
    assert arguments["hf_overrides"]["moe_eval_num_experts_per_tok"] == {"every": 2}
    # Each question pays for its own image, unless the user says otherwise.
    assert arguments["mm_processor_cache_gb"] == 0
    assert parse_arguments({}, VLLM_VLM).options.engine["enable_prefix_caching"] is False
