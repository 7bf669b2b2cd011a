"""The strict readers of options: what each takes, and what it refuses with one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import (
    argument_parts,
    read_bool,
    read_float,
    read_int,
    read_json,
    read_new_folder,
    read_pairs,
    read_text,
    split_arguments,
    variable,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("word", ["true", "True", "YES", "on", "1", 1, True])
def test_words_that_mean_yes(word: object) -> None:
    assert read_bool("flag", word) is True


@pytest.mark.parametrize("word", ["false", "No", "OFF", "0", " no ", 0, False])
def test_words_that_mean_no(word: object) -> None:
    assert read_bool("flag", word) is False


@pytest.mark.parametrize("word", ["nope", "2", "none", 2, 0.5, [], "f", "ja"])
def test_another_word_is_neither(word: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"flag=.*Use true or false"):
        read_bool("flag", word)


@pytest.mark.parametrize("value", ["4.5", "4.0", "abc", "nan", "1e3", "٤", "1_0", 4.0, True, "0"])
def test_what_is_no_whole_number_from_one_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"size=.*Use a whole number from 1\."):
        read_int("size", value, at_least=1)


def test_whole_numbers() -> None:
    assert [read_int("size", value) for value in ("4", " 4 ", "+4", "-4", 4)] == [4, 4, 4, -4, 4]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "x", "1,5", True, float("inf")])
def test_what_is_no_number_from_zero_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="share="):
        read_float("share", value, at_least=0)


def test_numbers() -> None:
    assert [read_float("x", value) for value in ("0.1", "1e-3", ".5", 2)] == [0.1, 0.001, 0.5, 2.0]


@pytest.mark.parametrize("read", [read_bool, read_int, read_float, read_text])
def test_an_empty_value_is_refused_with_the_way_out(read: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"name has no value\. .*leave name out"):
        read("name", "")


def test_arguments_are_split_as_the_host_splits_them() -> None:
    from lmms_eval.utils import _smart_comma_split

    text = """pretrained=a,b={"x": 1, "y": [1, 2]}, c='1,2',d="{",e=[1,2],,"""
    assert argument_parts(text) == _smart_comma_split(text)
    assert split_arguments("--model_args", "a=1,b=x=y") == {"a": "1", "b": "x=y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experts_k=", "experts_k has no value in --model_args"),
        ("experts_k= ,dtype=auto", "experts_k has no value in --model_args"),
        ("experts_k=8,experts_k=2", r"experts_k is given more than once .* \(8 and 2\)"),
        ("experts_k=8,experts_k=8", "experts_k is given more than once"),
        ("experts_k", "--model_args experts_k cannot be read. Write name=value"),
        ("=4", "cannot be read"),
    ],
)
def test_arguments_without_a_value_or_given_twice_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        split_arguments("--model_args", text)


def test_pairs_name_their_form() -> None:
    with pytest.raises(InvalidArgumentError, match=r"--config depth cannot be read\. Write K=V"):
        read_pairs("--config", ["depth"], "K=V")


def test_json_with_a_key_twice_is_refused() -> None:
    assert read_json("x", '{"a": {"b": 1}}') == {"a": {"b": 1}}
    with pytest.raises(InvalidArgumentError, match="b is given more than once in x"):
        read_json("x", '{"a": {"b": 1, "b": 2}}')


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert variable("MOE_EVAL_X", read_bool) is None
    monkeypatch.setenv("MOE_EVAL_X", "")
    assert variable("MOE_EVAL_X", read_bool) is None
    monkeypatch.setenv("MOE_EVAL_X", "No")
    assert variable("MOE_EVAL_X", read_bool) is False
    monkeypatch.setenv("MOE_EVAL_X", "perhaps")
    with pytest.raises(InvalidArgumentError, match="MOE_EVAL_X=perhaps"):
        variable("MOE_EVAL_X", read_bool)


def test_folders_that_can_and_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidArgumentError, match=r"output=.*file is a file"):
            read_new_folder("output", wrong)
    assert read_new_folder("output", str(tmp_path / "a" / "b")) == str(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
