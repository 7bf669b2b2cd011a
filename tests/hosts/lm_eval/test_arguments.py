"""Arguments of lm-eval: its own command reads what was written, and what is read here."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval._cli.utils import MergeDictAction, key_val_to_dict

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.arguments import join_texts, read_arguments, write_arguments

NAMES = st.from_regex(r"[a-z_]+", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    max_leaves=4,
)


def read_by_lm_eval(text: str) -> dict[str, Any]:
    """Return what lm-eval's command reads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_args", nargs="+", action=MergeDictAction)
    found: dict[str, Any] = parser.parse_args(["--model_args", text]).model_args
    return found


@settings(max_examples=30)
@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_lm_eval_reads_what_was_written(arguments: dict[str, Any]) -> None:
    text = write_arguments(arguments)
    assert read_by_lm_eval(text) == arguments
    assert read_arguments(text) == arguments


@pytest.mark.parametrize(
    "text",
    [
        "pretrained=a/b,experts_k=0-0:4/1-2:2,dtype=float32",
        "experts_k=8/image:2,n=2,share=1e-3,yes=TRUE,no=False,nothing=None,empty=",
        "stop=['a,b'],names=[1,2],text=a=b,revision=0004,twice=1,twice=2",
        'whole="4",hexadecimal=0x10,sum=4-2',
    ],
)
def test_a_text_is_read_as_by_lm_eval(text: str) -> None:
    assert read_arguments(text) == key_val_to_dict(text)


def test_usual_arguments_stay_readable() -> None:
    given = {"pretrained": "a/b", "experts_k": "8/image:2", "n": 4, "trust_remote_code": True}
    expected = "pretrained=a/b,experts_k=8/image:2,n=4,trust_remote_code=True"
    assert write_arguments(given) == expected


def test_texts_of_either_form_are_joined() -> None:
    assert join_texts(["", "a=1,b=x", "", "c=2"]) == "a=1,b=x,c=2"
    assert join_texts(['{"a": "1"}', "b=2", ""]) == '{"a": "1", "b": 2}'
    assert join_texts(["", '{"a": "1"}']) == '{"a": "1"}'
    assert join_texts(()) == ""


@pytest.mark.parametrize("text", ["demo", "a=1,b", '{"a": 1', "n=\u00b2"])
def test_what_lm_eval_cannot_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_arguments(text)
