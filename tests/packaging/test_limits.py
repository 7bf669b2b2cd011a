"""The limits that CONTRIBUTING names: the size of functions, modules and folders, and the words."""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.packaging.wheel_env import PACKAGE_FOLDERS, known_files, shipped_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MOST_LINES_OF_A_FUNCTION = 50
MOST_LINES_OF_A_MODULE = 300
MOST_ENTRIES_OF_A_FOLDER = 12
# Modules that may be longer, each with its reason.
LONGER_MODULES: dict[str, str] = {}
# Texts that name the words which others must not use.
NAMES_THE_WORDS = {"CONTRIBUTING.md", "tests/packaging/test_limits.py"}
# One module for each command, and one folder for each layer.
FULLER_FOLDERS = {"moe_eval_plugin/commands", "moe_eval_plugin"}
OLD_WORDS = re.compile(r"(?<![a-z])(?:doors?|tall(?:y|ies|ied|ying))(?![a-z])", re.IGNORECASE)
OLD_OPENINGS = re.compile(r"(?:Give|Tell)s? ")

Definition = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Definition | ast.ClassDef | ast.Module


def definitions(source: str) -> Iterator[Definition]:
    """Yield every function of some source, nested ones included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition):
            yield node


def long_functions(source: str) -> list[str]:
    """List the functions with more lines than allowed, decorators aside."""
    return [
        f"{node.name} (line {node.lineno}, {length} lines)"
        for node in definitions(source)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]


def old_openings(source: str) -> list[str]:
    """List the docstrings that begin with a word that says nothing of what is returned."""
    texts = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, Documented)
    ]
    return [text.splitlines()[0] for text in texts if OLD_OPENINGS.match(text)]


def old_words(text: str) -> list[str]:
    """List the words of the old layout that are in a text."""
    return sorted({found.group().lower() for found in OLD_WORDS.finditer(text)})


def full_folders(names: Iterable[str]) -> dict[str, int]:
    """Count the modules and folders in each folder that has more than allowed.

    ``__init__.py`` is not counted, and data files belong to the module that reads them.
    """
    entries: dict[str, set[str]] = {}
    for name in names:
        if not name.endswith(".py"):
            continue
        parts = name.split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
    counts = Counter({folder: len(inside - {"__init__.py"}) for folder, inside in entries.items()})
    return {folder: n for folder, n in counts.items() if n > MOST_ENTRIES_OF_A_FOLDER}


@pytest.fixture(scope="module")
def modules(repository_root: Path) -> dict[str, str]:
    """The source of every module that is shipped, by its path."""
    names = [name for name in shipped_files() if name.endswith(".py")]
    return {name: (repository_root / name).read_text("utf-8") for name in names}


def test_functions_have_at_most_fifty_lines(modules: dict[str, str]) -> None:
    found = {name: long_functions(source) for name, source in modules.items()}

    assert {name: functions for name, functions in found.items() if functions} == {}


def test_modules_have_at_most_300_lines_but_those_that_have_a_reason(
    modules: dict[str, str],
) -> None:
    lengths = {name: len(source.splitlines()) for name, source in modules.items()}

    longer = {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_MODULE}

    assert longer.keys() == LONGER_MODULES.keys(), longer
    assert all(LONGER_MODULES.values())


def test_folders_have_at_most_twelve_entries() -> None:
    found = full_folders(shipped_files())

    assert {folder: n for folder, n in found.items() if folder not in FULLER_FOLDERS} == {}


def test_docstrings_say_what_is_returned_or_done(repository_root: Path) -> None:
    sources = {
        name: (repository_root / name).read_text("utf-8")
        for name in known_files()
        if name.endswith(".py")
    }

    found = {name: old_openings(source) for name, source in sources.items()}

    assert {name: openings for name, openings in found.items() if openings} == {}


def test_the_old_words_are_gone(repository_root: Path) -> None:
    texts = [
        name
        for name in known_files()
        if name.endswith((".py", ".md", ".toml", ".yaml", ".yml")) and name not in NAMES_THE_WORDS
    ]

    found = {
        name: old_words(f"{name}\n{(repository_root / name).read_text('utf-8')}") for name in texts
    }

    assert len(texts) > len(PACKAGE_FOLDERS)
    assert {name: words for name, words in found.items() if words} == {}


def test_each_limit_is_seen_when_it_is_broken() -> None:
    body = "\n".join(["    x = 1"] * MOST_LINES_OF_A_FUNCTION)
    crowd = [f"moe_eval_plugin/new/{number}.py" for number in range(MOST_ENTRIES_OF_A_FOLDER + 1)]

    assert long_functions(f"class A:\n  async def f():\n{body}") == ["f (line 2, 51 lines)"]
    assert long_functions(f"def f():\n{body.removesuffix('    x = 1')}") == []
    assert full_folders([*crowd, "moe_eval_plugin/new/__init__.py"]) == {"moe_eval_plugin/new": 13}
    assert full_folders([*crowd[1:], "moe_eval_plugin/new/__init__.py"]) == {}
    assert old_openings('def f():\n    """Give the sum."""') == ["Give the sum."]
    assert old_openings('"""Tells the time."""\nclass A:\n    """Return it. Give up."""') == [
        "Tells the time."
    ]
    assert old_words("the Doors, open_door_ and doorway; a tally_total, a Tally: tallied") == [
        "door",
        "doors",
        "tallied",
        "tally",
    ]
