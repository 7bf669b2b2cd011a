from __future__ import annotations

import pytest

from moe_eval_plugin.errors import InvalidArgumentError


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
