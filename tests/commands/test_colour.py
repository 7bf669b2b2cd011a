from __future__ import annotations

import io
import sys

import pytest

from moe_eval_plugin.commands.colour import GREEN, RED, RESET, YELLOW, coloured, paint, shows_colour
from tests.cli.programs import moe_eval


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("line", "colour", "word"),
    [
        ("ok    python  3.11", GREEN, "ok"),
        ("warn  disk    1 GiB", YELLOW, "warn"),
        ("fail  torch   no", RED, "fail"),
        ("k=4      98.00%  within 1 point      1.40×", GREEN, "within 1 point"),
        ("k=2      90.00%  loses more  2×", RED, "loses more"),
        ("k=1      90.00%  too few (~934)", YELLOW, "too few"),
        ("Accuracy: reproduced, 2 of 2 settings.", GREEN, "reproduced"),
        ("Accuracy: not reproduced: k=4.", RED, "not reproduced"),
        ("moe-eval: No such file", RED, "moe-eval:"),
        ("Warning: busy", YELLOW, "Warning"),
    ],
)
def test_a_verdict_has_its_colour_and_nothing_else_has_one(
    line: str, colour: str, word: str
) -> None:
    assert paint(line) == line.replace(word, f"{colour}{word}{RESET}", 1)


@pytest.mark.parametrize("line", ["okvqa: 10 questions", '  "ok": true', "k=4 within 1 point of A"])
def test_other_words_have_no_colour(line: str) -> None:
    assert paint(line) == line


@pytest.mark.parametrize(
    ("variables", "stream", "shows"),
    [
        ({}, Terminal(), True),
        ({}, io.StringIO(), False),
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"NO_COLOR": ""}, Terminal(), True),
        ({"FORCE_COLOR": "1"}, io.StringIO(), True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, Terminal(), False),
        ({"TERM": "dumb"}, Terminal(), False),
    ],
)
def test_the_environment_decides_about_colours(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], stream: io.StringIO, *, shows: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert shows_colour(stream) == shows


def test_what_is_printed_to_a_terminal_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with coloured():
        sys.stdout.write("ok    all\n")
        assert sys.stdout.isatty()
    assert terminal.getvalue() == f"{GREEN}ok{RESET}    all\n"


def test_an_error_is_red_where_colours_are_forced() -> None:
    assert moe_eval("families", "none", FORCE_COLOR=1, NO_COLOR="").stderr.startswith(RED)
    assert moe_eval("families", "none").stderr.startswith("moe-eval:")
