"""The directives ``families-table`` and ``families-details``: the families of this package.

The text is made when the documentation is built, so it cannot fall behind the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from docutils import nodes
    from sphinx.application import Sphinx

    from moe_eval_plugin.plugins.family import Family


def table_text(shown: Sequence[Family]) -> str:
    """Write the table in Markdown, a row per family."""
    from moe_eval_plugin.models.inspection import families_table

    header = [_row(families_table.HEADER), _row("---" for _ in families_table.HEADER)]
    rows = (
        (f"`{name}`", kind, f"`{k}`", *rest) for name, kind, k, *rest in families_table.rows(shown)
    )
    return "\n".join([*header, *map(_row, rows)])


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
    """The table of all families of this package."""

    def run(self) -> list[nodes.Node]:
        """Build the table from the data that the program itself uses."""
        return self.parse_text_to_nodes(table_text(_own_families()))


class FamiliesDetails(SphinxDirective):
    """The warnings and notes of all families of this package."""

    def run(self) -> list[nodes.Node]:
        """Build the list from the data that the program itself uses."""
        return self.parse_text_to_nodes(details_text(_own_families()))


def _own_families() -> list[Family]:
    from moe_eval_plugin.models.families import moe_eval_register_families

    return moe_eval_register_families()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("families-table", FamiliesTable)
    app.add_directive("families-details", FamiliesDetails)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
