"""Search the definitions of a host's tasks for names, within a fraction of a second.

Tasks are the YAML files of some folders: their texts are searched, not parsed, so quickly that
nothing has to be kept from one run to the next. A name that is in none of them is no task; of any
other the host itself decides, when it has read them.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DECLARED = re.compile(r"^ *-? *(?:task|group|tag) *: *[\"']?([^\s\"'#\[]+)", re.MULTILINE)
PATTERN = re.compile(r"[*?\[]")


def folders_of_package(package: str) -> list[Path]:
    """Return the folders of tasks in the package of a host; none where it is not installed."""
    spec = find_spec(package)
    found = (spec.submodule_search_locations if spec else None) or ()
    return [Path(folder, "tasks") for folder in found]


def declared_names(folders: Iterable[Path]) -> list[str]:
    """Return the names of all tasks, groups and tags in the definitions in some folders."""
    return sorted(set(DECLARED.findall("\n".join(_definitions(folders)))))


def missing_names(names: Iterable[str], folders: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Return the names that no definition contains, and all that are declared.

    Patterns are not checked.
    """
    texts = "\n".join(_definitions(folders))
    declared = set(DECLARED.findall(texts))
    missing = [
        name
        for name in names
        if not PATTERN.search(name)
        and name not in declared
        and not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", texts)
    ]
    return missing, sorted(declared)


def _definitions(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            yield path.read_text("utf-8", errors="replace")
