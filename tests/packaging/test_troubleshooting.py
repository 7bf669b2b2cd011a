"""The page on troubleshooting quotes what the program prints."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import moe_eval_plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path("docs", "how-to", "troubleshoot.md")
# What stands for a name, a number or a choice of words in a quoted message.
PLACEHOLDER = re.compile(
    r"\b[NM]\b|\b[XY] GiB\b|\b(?:ORG/)?MODEL\b|k=\d+|'[^']*'|\blm(?:ms)?-eval\b|\.\.\."
    r"|\benough\b|\bfaster\b"
)
LEAST_QUOTES = 12


def quotes(text: str) -> list[str]:
    """List the messages that headings and tables of a page quote."""
    lines = [line for line in text.splitlines() if line.startswith(("### ", "| "))]
    return [quote for line in lines for quote in re.findall(r'"([^"]+)"', line)]


def fragments(quote: str) -> Iterator[str]:
    """Yield the parts of a message between names and numbers, without a single word."""
    for part in PLACEHOLDER.split(quote):
        words = part.strip(" .,;!")
        if " " in words:
            yield words


def printed_by(files: Iterator[Path]) -> str:
    """Return all texts in Python files, with one space for each value that is put into them."""
    found = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (one.value if isinstance(one, ast.Constant) else " " for one in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.fixture(scope="module")
def printed() -> str:
    package = Path(moe_eval_plugin.__file__).parent
    spec = find_spec("lm_eval.api.registry")
    assert spec is not None
    assert spec.origin is not None
    return printed_by(iter([*package.rglob("*.py"), Path(spec.origin)]))


def test_quoted_messages_are_those_of_the_program(repository_root: Path, printed: str) -> None:
    quoted = quotes((repository_root / PAGE).read_text("utf-8"))
    assert len(quoted) >= LEAST_QUOTES
    missing = [part for quote in quoted for part in fragments(quote) if part not in printed]
    assert missing == []
