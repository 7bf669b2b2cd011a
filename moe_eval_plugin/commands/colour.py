"""Sparing colour for what people look for: verdicts, checks, warnings and errors.

Only on a terminal. ``NO_COLOR`` turns it off, and ``FORCE_COLOR`` on everywhere; neither counts if
it is empty (https://no-color.org, https://force-color.org).
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

RED, GREEN, YELLOW = "\x1b[31m", "\x1b[32m", "\x1b[33m"
RESET = "\x1b[0m"
# What the renderers write, as they write it: colour is added to finished lines, whose columns it
# does not move.
RULES = {
    RED: r"^fail(?=  )|^Failed\b|\bNOT REPRODUCED\b|(?<=: )not reproduced\b|\bloses more\b|"
    r"^moe-eval:(?= )",
    YELLOW: r"^warn(?=  )|^Warning\b|\btoo few(?=  | \(~| questions)|^Too few\b|"
    r"(?<=: )not judged\b",
    GREEN: r"^ok(?=    )|(?<=  )within(?: [\d.]+ points?)?(?=  |$)|(?<=: )reproduced\b|"
    r"\bverified(?=: )",
}
MATCHERS = [(colour, re.compile(rule, re.MULTILINE)) for colour, rule in RULES.items()]


class Painted:
    """A stream that writes text with colours, and is the stream beneath in everything else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text with colours; return the length that the caller expects."""
        self._stream.write(paint(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (any attribute of a stream)
        return getattr(self._stream, name)


@contextmanager
def coloured() -> Iterator[None]:
    """Paint what is printed to streams that show colours."""
    with ExitStack() as stack:
        for stream, redirect in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
            if shows_colour(stream):
                stack.enter_context(redirect(cast("TextIO", Painted(stream))))
        yield


def shows_colour(stream: TextIO) -> bool:
    """Whether a stream shows colours: a terminal, unless the environment decides."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str) -> str:
    """Return text with the words of ``RULES`` in their colours."""
    for colour, matcher in MATCHERS:
        text = matcher.sub(rf"{colour}\g<0>{RESET}", text)
    return text
