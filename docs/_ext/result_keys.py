"""The directives ``result-rows``, ``record-keys`` and ``keys-table``: keys with an anchor each.

The first two are made from the declarations that the program itself uses when the documentation is
built: ``ROWS``, and the docstrings of a record's fields. The third takes a table of the page.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from search_entries import Entry, enter
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sphinx.application import Sphinx

ROWS_HEADER = ("row", "unit", "better", "meaning")
KEYS_HEADER = ("key", "unit", "meaning")


@dataclass(frozen=True)
class Key:
    """A key of a record, as users read about it."""

    name: str
    unit: str
    meaning: str


def rows_text() -> str:
    """Write the rows of the host's table as a table in Markdown."""
    from moe_eval_plugin.results.rows import ROWS

    rows = ((f"`{row.name}`", row.unit, row.better or "neither", row.meaning) for row in ROWS)
    return table_text(ROWS_HEADER, rows)


def keys_of(of: type, properties: Iterable[str] = (), prefix: str = "") -> list[Key]:
    """List the fields of a dataclass as keys, and then some properties.

    A property is one of the class, or ``module.Class.name`` of another. Raises ``ValueError`` for
    a field or a property without a docstring.
    """
    docs = ModuleAnalyzer.for_module(of.__module__).find_attr_docs()
    texts = {field.name: docs.get((of.__name__, field.name), []) for field in fields(of)}
    for path in properties:
        owner, _, name = path.rpartition(".")
        found = getattr(class_of(owner) if owner else of, name)
        texts[name] = (inspect.getdoc(found) or "").partition("\n\n")[0].splitlines()
    if missing := [name for name, lines in texts.items() if not "".join(lines)]:
        message = f"{of.__name__}: no docstring for {', '.join(missing)}"
        raise ValueError(message)
    return [
        Key(f"{prefix}{name}", unit_text(name), as_markdown(" ".join(lines)))
        for name, lines in texts.items()
    ]


def class_of(path: str) -> type:
    """Import the class ``module.Class``."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def unit_text(name: str) -> str:
    """Return the unit in the name of a key, in the words of the pages; empty without one."""
    from moe_eval_plugin.results.rows import unit_of

    return (unit_of(name) or "").replace("samples", "questions")


def as_markdown(docstring: str) -> str:
    """Return a docstring with the names that JSON has, as Markdown."""
    names = {"``None``": "`null`", "``True``": "`true`", "``False``": "`false`"}
    for python, json in names.items():
        docstring = docstring.replace(python, json)
    return docstring.replace("``", "`").strip().removesuffix(".")


def keys_text(keys: Iterable[Key]) -> str:
    """Write keys as a table in Markdown, with units if there are any."""
    rows = [(f"`{key.name}`", key.unit, key.meaning) for key in keys]
    if any(unit for _, unit, _ in rows):
        return table_text(KEYS_HEADER, rows)
    return table_text(KEYS_HEADER[::2], [row[::2] for row in rows])


def table_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class KeyTable(SphinxDirective):
    """A table whose rows have anchors, which the search finds; ``prefix`` begins each anchor."""

    def linked(self, text: str, prefix: str) -> list[nodes.Node]:
        """Parse a table, and make a link of each name in its first column."""
        table = self.parse_text_to_nodes(text)
        rows = [row for body in nodes.container("", *table).findall(nodes.tbody) for row in body]
        for row in rows:
            for name in list(row[0].findall(nodes.literal)):
                row["ids"].append(nodes.make_id(f"{prefix} {name.astext()}"))
                entry = Entry("moe-key", name.astext(), prefix, row["ids"][-1])
                link = nodes.reference("", "", name.deepcopy(), refid=entry.anchor)
                name.parent.replace(name, [enter(self.env, entry), link])
        return table


class ResultRows(KeyTable):
    """The rows that a record adds to the host's table."""

    def run(self) -> list[nodes.Node]:
        """Build the table from the declarations."""
        return self.linked(rows_text(), "row")


class RecordKeys(KeyTable):
    """The fields and properties of a class as keys, with their docstrings.

    ``of`` names what has these keys if it is no record of results.
    """

    required_arguments = 1
    option_spec: ClassVar = {
        "of": directives.unchanged,
        "prefix": directives.unchanged,
        "properties": lambda text: tuple(text.split()),
    }

    def run(self) -> list[nodes.Node]:
        """Build the table from the docstrings of the class."""
        options = self.options
        of = class_of(self.arguments[0])
        keys = keys_of(of, options.get("properties", ()), options.get("prefix", ""))
        return self.linked(keys_text(keys), options.get("of", "record"))


class KeysTable(KeyTable):
    """A table that is written in the page; the argument begins its anchors."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Build the table that is the content."""
        return self.linked("\n".join(self.content), self.arguments[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.setup_extension("search_entries")
    app.add_directive("result-rows", ResultRows)
    app.add_directive("record-keys", RecordKeys)
    app.add_directive("keys-table", KeysTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
