from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.run_options import RunOptions
from moe_eval_plugin.hosts.shared.arguments import join_arguments, read_model_args
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments


def test_an_unknown_argument_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean experts_k"):
        parse_arguments({"expert_k": 4})


def test_the_default_model_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_EVAL_PRETRAINED", "demo")
    assert parse_arguments({})[0].pretrained == "demo"
    monkeypatch.delenv("MOE_EVAL_PRETRAINED")
    assert parse_arguments({})[0].pretrained == "Qwen/Qwen3-VL-30B-A3B-Instruct"


@pytest.mark.parametrize("word", ["no", "No", "off", "0", "false", False, 0])
def test_code_of_a_checkpoint_is_not_trusted_by_a_word_that_means_no(word: object) -> None:
    for given in ({"trust_remote_code": word}, read_model_args(f"trust_remote_code={word}")):
        assert parse_arguments({"pretrained": "demo", **given})[0].trust_remote_code is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trust_remote_code=nope", "Use true or false"),
        ("experts_k=", "experts_k has no value"),
        ("experts_k=8,experts_k=2", "experts_k is given more than once"),
        ("max_pixels=0", "max_pixels=0 is not possible"),
        ("max_pixels=-5", "max_pixels=-5 is not possible"),
        ("max_pixels=1e6", "max_pixels=1e6 is not possible"),
        ("min_pixels=100000,max_pixels=1000", "no image has a size between them"),
        ("dtype=float", "dtype=float is not known"),
        ("dtype=32", "dtype=32 is not known"),
        ("experts_implementation=fast", "experts_implementation=fast is not known"),
        ("batch_size=4.5", "Use auto, or a whole number from 1"),
        ("batch_size=0", "Use auto, or a whole number from 1"),
        ("batch_size=true", "Use auto, or a whole number from 1"),
        ("batch_size=auto,max_batch_size=0", "max_batch_size=0 is not possible"),
        ("batch_size=4,max_batch_size=8", "max_batch_size=8 has no effect with batch_size=4"),
        ("max_new_tokens=0", "max_new_tokens=0 is not possible"),
        ("max_new_tokens=abc", "max_new_tokens=abc is not possible"),
        ("seed=x", "seed=x is not possible"),
        ("seed=-1", "Use a whole number from 0"),
        ("profile=all", "Use one of: off, basic, full"),
        ("profile=true", "Use one of: off, basic, full"),
    ],
)
def test_a_value_that_no_option_can_have_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_arguments(read_model_args(f"pretrained=demo,{text}"))


def test_every_option_refuses_an_empty_value() -> None:
    for name in [field.name for kind in (EngineOptions, RunOptions) for field in fields(kind)]:
        for given in (f"{name}=", {name: ""}):
            with pytest.raises(InvalidArgumentError, match=f"{name} has no value"):
                parse_arguments(read_model_args(given))


def test_a_name_of_digits_stays_as_it_is_written() -> None:
    options, _ = parse_arguments(read_model_args("pretrained=demo,revision=0012345"))
    assert options.revision == "0012345"


def test_an_option_of_the_host_and_the_same_argument_must_agree() -> None:
    assert join_arguments("batch_size=8", {"batch_size": 1, "device": None})["batch_size"] == "8"
    assert join_arguments("device=cpu", {"device": "cpu"})["device"] == "cpu"
    with pytest.raises(InvalidArgumentError, match="device is given more than once"):
        join_arguments("device=cpu", {"device": "cuda"})
    with pytest.raises(InvalidArgumentError, match="batch_size is given more than once"):
        join_arguments({"batch_size": 8}, {"batch_size": "4"})


@pytest.mark.parametrize("wrong", [["pretrained=demo"], 4])
def test_arguments_are_text_or_a_mapping(wrong: Any) -> None:
    assert (
        parse_arguments(read_model_args({"pretrained": "demo", "experts_k": 4}))[0].experts_k == 4
    )
    with pytest.raises(InvalidArgumentError, match="Write name=value"):
        read_model_args(wrong)
