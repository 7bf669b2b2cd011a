"""What people read uses plain words: no page, help text or message has a phrase of this list.

Each phrase was in the documentation once and had to be read twice. None has a use that a plain word
does not serve better.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, TypeGuard

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAINER = {
    r"stands? beside": "is next to",
    r"(?:is|are) told\b": "learns, or: distinguishes",
    r"told (?:from|apart)\b": "distinguished from",
    r"as ever\b": "as usual",
    r"mend(?:s|ed|ing)?\b": "fix",
    r"remed(?:y|ies)\b": "fix",
    r"cures?\b": "fix",
    r"ours\b": "of this package",
    r"the data tell\b": "the data list",
    r"of (?:this|that|its) name\b": "the name itself",
    r"meanwhile\b": "at the same time",
    r"likewise\b": "too",
    r"anew\b": "again",
    r"comes? out as\b": "is",
    r"asks? of\b": "requires",
    r"no good end\b": "neither direction is better",
    r"that is what\b": "name the thing",
    r"in the manner of\b": "as in",
    r"what is left over\b": "the rest",
    r"what came after it\b": "a development version after 0.2.0",
    r"(?:is|be) had\b": "is available",
    r"speaks? of\b": "describes",
    r"nobody\b": "name who acts",
    r"(?:goes|to go) on\b": "continues",
    r"opposite things\b": "name both",
    r"a fault that is not yours\b": "internal error",
    r"simply\b": "leave it out",
    r"obviously\b": "leave it out",
    r"note that\b": "leave it out",
}
PATTERNS = {re.compile(rf"\b{phrase}", re.IGNORECASE): use for phrase, use in PLAINER.items()}
CODE = re.compile(r"^```.*?^```|``.+?``|`[^`\n]+`", re.MULTILINE | re.DOTALL)
PAGES = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")


def found(text: str) -> list[str]:
    """List the phrases of a text that have a plainer form, each with this form."""
    prose = " ".join(CODE.sub(" ", text).split())
    return [
        f"{match[0]!r} in {prose[max(0, match.start() - 30) : match.end() + 30]!r}: {use}"
        for pattern, use in PATTERNS.items()
        for match in pattern.finditer(prose)
    ]


def texts_of(program: str) -> Iterator[str]:
    """Yield the texts of a Python program that users see: messages, help texts, docs of fields."""
    nodes = list(ast.walk(ast.parse(program)))
    inner = {id(node.body[0].value) for node in nodes if _has_docstring(node)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value if " " in node.value else ""


def _has_docstring(node: ast.AST) -> TypeGuard[ast.Module | ast.ClassDef | ast.FunctionDef]:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and bool(
        ast.get_docstring(node)
    )


def pages(root: Path) -> list[Path]:
    """List the pages of the documentation, and those that the repository shows."""
    written = [path for path in (root / "docs").rglob("*.md") if "_build" not in path.parts]
    return sorted([*written, *(root / name for name in PAGES)])


def test_pages_are_in_plain_words(repository_root: Path) -> None:
    stiff = {str(path): found(path.read_text("utf-8")) for path in pages(repository_root)}
    assert {path: phrases for path, phrases in stiff.items() if phrases} == {}


def test_help_texts_and_messages_are_in_plain_words(repository_root: Path) -> None:
    package = repository_root / "moe_eval_plugin"
    stiff = {
        str(path): [one for text in texts_of(path.read_text("utf-8")) for one in found(text)]
        for path in sorted(package.rglob("*.py"))
    }
    pages_of_reports = [*package.rglob("*.html"), *package.rglob("*.js")]
    stiff |= {str(path): found(path.read_text("utf-8")) for path in pages_of_reports}
    assert {path: phrases for path, phrases in stiff.items() if phrases} == {}


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("The speed stands\nbeside the accuracy.", 1),
        ("Doctor says how to mend it.", 1),
        ("The key `remedy` has the fix, and the recommended k is 4.", 0),
        ("```text\nnobody\n```\nThe weights of the model are ours.", 1),
        ("The sweep continues. Nothing is amended.", 0),
    ],
)
def test_a_phrase_is_found_across_lines_and_outside_code_only(text: str, n: int) -> None:
    assert len(found(text)) == n
