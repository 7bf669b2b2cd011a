"""Load the extensions of the documentation, and build small pages with them."""

from __future__ import annotations

import importlib
import io
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

from sphinx.application import Sphinx
from sphinx.deprecation import RemovedInSphinx11Warning

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def extension(name: str, repository_root: Path) -> ModuleType:
    """Import an extension by its name, as Sphinx does."""
    folder = str(repository_root / "docs" / "_ext")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def built(source: Path, *extensions: str, first: str) -> Path:
    """Build the pages of a folder with extensions of ours, and return the folder of HTML.

    A warning fails the test.
    """
    out = source / "out"
    settings = {"extensions": ["myst_parser", *extensions], "root_doc": first}
    warned = io.StringIO()
    with warnings.catch_warnings():
        # MyST-Parser uses what Sphinx 11 will no longer have.
        warnings.simplefilter("ignore", RemovedInSphinx11Warning)
        Sphinx(
            source,
            None,
            out,
            out / "doctrees",
            "html",
            confoverrides=settings,
            status=None,
            warning=warned,
        ).build()
    # A second build in one process warns that Sphinx itself is there already.
    assert [
        line for line in warned.getvalue().splitlines() if "already registered" not in line
    ] == []
    return out


def found_objects(out: Path) -> dict[str, tuple[str, str]]:
    """Map each name that the search of built pages finds to its kind and its link."""
    text = (out / "searchindex.js").read_text("utf-8")
    index: dict[str, Any] = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    return {
        ".".join(part for part in (prefix, name) if part): (
            index["objnames"][str(kind)][2],
            f"{index['docnames'][page]}.html#{anchor or name}",
        )
        for prefix, objects in index["objects"].items()
        for page, kind, _, anchor, name in objects
    }
