from __future__ import annotations

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments


def test_an_unknown_argument_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean experts_k"):
        parse_arguments({"expert_k": 4})


def test_the_default_model_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_EVAL_PRETRAINED", "demo")
    assert parse_arguments({})[0].pretrained == "demo"
    monkeypatch.delenv("MOE_EVAL_PRETRAINED")
    assert parse_arguments({})[0].pretrained == "Qwen/Qwen3-VL-30B-A3B-Instruct"
