from __future__ import annotations

import pytest

from moe_eval_plugin.errors import (
    InvalidArgumentError,
)


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
    from moe_eval_plugin.hosts.lmms_eval.arguments import parse_arg_string
    from moe_eval_plugin.model_adapters.vllm_arguments import parse_arguments

    with pytest.raises(InvalidArgumentError, match=message):
        parse_arguments(parse_arg_string(f"pretrained=demo,{arguments}"))
