"""The directives ``families-table`` and ``families-details``: the families of this package.

The text is made when the documentation is built, so it cannot fall behind the data. ``vision``,
``text`` and ``fixed`` name the families of a table: with images, without, and with a k that cannot
be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from search_entries import Entry, enter
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sphinx.application import Sphinx

    from moe_eval_plugin.plugins.family import Family

WITHOUT_IMAGES = ("text", "text-to-text", "token-classification")
GROUPS: dict[str, Callable[[Family], bool]] = {
    "vision": lambda one: not one.fixed_k_reason and one.kind not in WITHOUT_IMAGES,
    "text": lambda one: not one.fixed_k_reason and one.kind in WITHOUT_IMAGES,
    "fixed": lambda one: bool(one.fixed_k_reason),
}
# Columns of the program's table, and what they are called here.
COLUMNS = {
    "family": "family",
    "proof": "proof",
    "weights of the chosen": "weights of the chosen experts",
    "k is in": "key of k",
}
FIXED_COLUMNS = {"family": "family", "k is in": "k", "k can be changed": "why k cannot be changed"}
# How the program's table begins a cell with the key that decides.
KEY_DECIDES = "set by "


def table_text(shown: Sequence[Family], columns: dict[str, str]) -> str:
    """Write a table in Markdown, a row per family."""
    from moe_eval_plugin.models.inspection import families_table

    rows = [_row(columns.values()), _row("---" for _ in columns)]
    for cells in families_table.rows(shown):
        cell = dict(zip(families_table.HEADER, cells, strict=True))
        cell["family"] = f"`{cell['family']}`"
        cell["k can be changed"] = cell["k can be changed"].removeprefix("no: ")
        weights = cell["weights of the chosen"]
        if weights.startswith(KEY_DECIDES):
            key = weights.removeprefix(KEY_DECIDES)
            cell["weights of the chosen"] = f"{KEY_DECIDES}`{key}`"
        if not cell["k is in"].startswith("fixed at "):
            cell["k is in"] = f"`{cell['k is in']}`"
        rows.append(_row(cell[column] for column in columns))
    return "\n".join(rows)


def details_text(shown: Iterable[Family]) -> str:
    """Write the warnings and notes in Markdown, a list item per family that has some."""
    items = []
    for family in shown:
        texts = [*(f"**{warning}**" for warning in family.warnings), *family.notes]
        if texts:
            items.append(f"- `{family.model_type}`: " + "; ".join(texts) + ".")
    return "\n".join(items)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


class FamiliesTable(SphinxDirective):
    """The table of one group of families of this package, with an anchor on each row."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the table from the data that the program itself uses."""
        (group,) = self.arguments
        shown = [family for family in own_families() if GROUPS[group](family)]
        columns = FIXED_COLUMNS if group == "fixed" else COLUMNS
        table = self.parse_text_to_nodes(table_text(shown, columns))
        rows = [row for body in nodes.container("", *table).findall(nodes.tbody) for row in body]
        for family, row in zip(shown, rows, strict=True):
            name = family.model_type
            row["ids"].append(nodes.make_id(f"family-{name}"))
            entry = Entry("moe-family", name, "", row["ids"][0])
            first = next(row.findall(nodes.literal)).parent
            first.insert(0, enter(self.env, entry))
        return table


class FamiliesDetails(SphinxDirective):
    """The warnings and notes of all families of this package."""

    def run(self) -> list[nodes.Node]:
        """Build the list from the data that the program itself uses."""
        return self.parse_text_to_nodes(details_text(own_families()))


def own_families() -> list[Family]:
    """List the families of this package, by name."""
    from moe_eval_plugin.models.families import moe_eval_register_families

    return sorted(moe_eval_register_families(), key=lambda family: family.model_type.lower())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.setup_extension("search_entries")
    app.add_directive("families-table", FamiliesTable)
    app.add_directive("families-details", FamiliesDetails)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
