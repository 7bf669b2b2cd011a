"""The grammar of ``experts_k``, and its error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmms_eval.utils import simple_parse_args_string

from moe_eval_plugin.errors import InvalidExpertCountError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule, ScheduleRule

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)).map(
    lambda pair: (min(pair), max(pair))
)
RULES = st.builds(
    ScheduleRule,
    st.integers(0, 512),
    layers=LAYERS,
    modality=st.sampled_from([None, "text", "image"]),
    phase=st.sampled_from([None, "prefill", "decode"]),
)
SCHEDULES = st.lists(RULES, min_size=1, max_size=5).map(lambda r: ExpertSchedule(tuple(r)))


@given(SCHEDULES)
def test_a_schedule_is_read_back_from_its_text(schedule: ExpertSchedule) -> None:
    assert parse_experts_k(schedule.text) == schedule


@given(SCHEDULES)
def test_the_host_passes_a_schedule_on_as_it_is(schedule: ExpertSchedule) -> None:
    passed_on = simple_parse_args_string(f"pretrained=demo,experts_k={schedule.text}")
    assert parse_experts_k(passed_on["experts_k"]) == schedule


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("text:8/pictures:2", "'pictures' is none of text, image"),
        ("text+image:2", "has modality twice"),
        ("0-3+8-11:2", "has layers twice"),
        ("11-0:2", "run backwards"),
        ("8/", "'' is not a number"),
        ("image:", "'' is not a number"),
        (":4", "'' is none of"),
        ("0-:4", "'0-' is none of"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidExpertCountError) as caught:
        parse_experts_k(text)
    assert reason in str(caught.value)
    assert f"experts_k={text}" in str(caught.value)


def test_a_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "schedule.yaml"
    file.write_text("- k: 8\n- {k: 2, modality: image, layers: 12-47}\n- {k: 4, layers: 3}\n")
    assert parse_experts_k(f"@{file}") == parse_experts_k("8/image+12-47:2/3:4")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("k: 8", "a list of rules"),
        ("[]", "a list of rules"),
        ("- 8", "a list of rules"),
        ("- {layers: 3}", "needs k"),
        ("- {k: 8, layer: 3}", "needs k, and may have only k, layers"),
        ("- {k: true}", "'true' is not a number"),
        ("- {k: 0x4}", "'0x4' is not a number"),
        ("- {k: 4, layers: 1:30}", "'1:30' is none of"),
        ("- {k: 8, k: 2}", "k is given more than once"),
        ("- {k: 8, modality: }", "modality:  is none of text, image"),
        ("- {k: 8, modality: sound}", "modality: sound is none of text, image"),
        ("- {k: 8, phase: [decode]}", "is none of prefill, decode"),
        ("- {k: 4.5}", "'4.5' is not a number"),
        ("- {k: 8", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "schedule.yaml"
    file.write_text(content)
    with pytest.raises(InvalidExpertCountError) as caught:
        parse_experts_k(f"@{file}")
    assert reason in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InvalidExpertCountError, match=r"No such file.*missing\.yaml"):
        parse_experts_k("@missing.yaml")


def test_nothing_given_means_the_model_as_published() -> None:
    assert parse_experts_k(None) is None


@pytest.mark.parametrize("given", ["", " "])
def test_an_empty_value_is_refused(given: str) -> None:
    with pytest.raises(InvalidExpertCountError, match="no value; leave it out"):
        parse_experts_k(given)


@pytest.mark.parametrize("given", ["four", "4.0", 4.0, True, "-1", "4,5", "٤", "1e1", [4]])
def test_anything_else_is_refused_with_the_value(given: object) -> None:
    with pytest.raises(InvalidExpertCountError) as caught:
        parse_experts_k(given)
    assert str(given) in str(caught.value)
    assert "experts_k=4" in str(caught.value)
