from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.text import (
    MINUS,
    align,
    as_text,
    counted,
    did_you_mean,
    first_few,
    fit,
    gib_text,
    labelled,
    points_text,
    terminal_width,
    with_minus,
    wrap,
    wrap_command,
)

CELLS = st.text("ab -", max_size=6)
ROWS = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=5)
)


def test_names_are_to_the_left_and_numbers_to_the_right() -> None:
    rows = [("name", "n", "share"), ("a", "1,000", "0.5"), ("long name", "7", "")]
    assert align(rows, "lr") == [
        "name           n  share",
        "a          1,000    0.5",
        "long name      7",
    ]
    assert align(rows, "lrl") == [
        "name           n  share",
        "a          1,000  0.5",
        "long name      7",
    ]
    assert align(rows)[1] == "a          1,000  0.5"


@given(ROWS, st.sampled_from(["l", "r", "lr", "lrl", "lrlrlrl"]))
def test_every_column_begins_and_ends_at_the_same_place(
    rows: list[list[str]], columns: str
) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, line in zip(rows, align(rows, columns), strict=True):
        assert line == line.rstrip()
        start = 0
        for cell, width in zip(row, widths, strict=True):
            assert line[start : start + width].strip() == cell.strip()
            start += width + 2


def test_widths_may_be_fixed_where_rows_come_one_by_one() -> None:
    assert align([("a", "1")], "lr", [3, 4]) == ["a       1"]
    assert align([("longer", "1")], "lr", [3, 4]) == ["longer     1"]


def test_no_rows_have_no_lines() -> None:
    assert align([]) == []


def test_wrapped_lines_keep_words_and_options_whole() -> None:
    long = "x" * 120
    text = f"{'--at-least-equal ' * 30}{long}"
    assert " ".join(wrap(text)) == text
    assert max(len(line) for line in wrap(text) if line != long) <= 100


@pytest.mark.parametrize(
    ("name", "hint"),
    [("expert_k", " Did you mean experts_k?"), ("renorn", " Did you mean renorm?"), ("x", "")],
)
def test_the_nearest_name_is_suggested(name: str, hint: str) -> None:
    assert did_you_mean(name, ["experts_k", "experts_policy", "renorm"]) == hint


def test_a_long_list_shows_its_first_five_values() -> None:
    assert first_few([1, 2]) == "1, 2"
    assert first_few("abcde") == "a, b, c, d, e"
    assert first_few(range(9)) == "0, 1, 2, 3, 4, ..."
    assert first_few([]) == ""


def test_bytes_are_shown_in_gib() -> None:
    assert gib_text(1536 * 1024**2) == "1.5 GiB"
    assert gib_text(3 * 1024**4) == "3,072.0 GiB"


def test_a_number_has_its_noun_in_the_right_form() -> None:
    assert [counted(n, "image") for n in (0, 1, 9673)] == ["0 images", "1 image", "9,673 images"]


def test_points_never_are_a_zero_with_a_minus() -> None:
    points = [points_text(one) for one in (-0.001, 0.774, -1.0)]
    assert points == ["0.00", "0.77", f"{MINUS}1.00"]
    assert [points_text(one, sign=True) for one in (-0.001, 0.774)] == ["0.00", "+0.77"]


def test_negative_numbers_have_a_minus_and_words_keep_their_hyphen() -> None:
    text = "-1.5% to +2 with-hyphen --option -x 3-4"
    assert with_minus(text) == f"{MINUS}1.5% to +2 with-hyphen --option -x 3-4"


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("300", 100), ("9", 40), ("", 80)])
def test_lines_are_as_wide_as_the_terminal_within_limits(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


def test_a_label_is_followed_by_its_text_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert labelled([("a", "one " * 12), ("long", "two"), ("none", "")]) == [
        "a     one one one one one one one one",
        "      one one one one",
        "long  two",
        "none",
    ]


TABLE = [
    ("name", "rate", "spare", "why"),
    ("a-b", "1.5", "xxxxx", "because it is so and nothing else"),
    ("c", "22.5", "yyyyy", "no"),
]


def test_a_table_leaves_out_spare_columns_and_then_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert fit(TABLE, "lrrl", ["spare"]) == align(TABLE, "lrrl")
    monkeypatch.setenv("COLUMNS", "50")
    without = [(a, b, d) for a, b, _, d in TABLE]
    assert fit(TABLE, "lrrl", ["spare"]) == align(without, "lrl")
    monkeypatch.setenv("COLUMNS", "40")
    assert fit(TABLE, "lrrl", ["spare"]) == [
        "name  rate  why",
        "a-b    1.5  because it is so and nothing",
        "            else",
        "c     22.5  no",
    ]


def test_a_table_is_wider_than_the_terminal_only_for_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = fit([("name", "n"), ("x" * 50, "1")], "lr")
    assert [len(line) for line in lines] == [53, 53]


def test_a_long_command_is_still_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    command = "moe-eval sweep --model-args 'pretrained=a b' --tasks easy_vqa --output runs/demo"
    lines = wrap_command(command, first="  ")
    assert max(map(len, lines)) <= 40
    assert [line.endswith(" \\") for line in lines] == [True, True, False]
    assert shlex.split(" ".join(line.rstrip("\\") for line in lines)) == shlex.split(command)
    assert wrap_command("moe-eval tasks", first="Next: ") == ["Next: moe-eval tasks"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (4.0, "4"), (0, "0"), (0.25, "0.25"), ({"a": 1, "b": "x"}, "a 1, b x"), ({}, "")],
)
def test_values_are_written_for_people(value: object, text: str) -> None:
    assert as_text(value) == text
