"""Long names in tables break at their underscores, points and slashes, not inside a word."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PARTS = re.compile(r"(?<=[_./,=:])(?=\w)")


class LineBreaks(SphinxPostTransform):
    """Marks in the code of a table cell where a line may end; the text stays as it is."""

    default_priority = 900
    formats = ("html",)

    def run(self, **_: Any) -> None:  # noqa: ANN401  (Sphinx's own signature)
        """Put a mark after each sign at which a name may break."""
        for entry in self.document.findall(nodes.entry):
            for literal in entry.findall(nodes.literal):
                parts = PARTS.split(literal.astext())
                marked: list[nodes.Node] = [nodes.Text(parts[0])]
                for part in parts[1:]:
                    marked += [nodes.raw("", "<wbr>", format="html"), nodes.Text(part)]
                literal.children = []
                literal.extend(marked)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_post_transform(LineBreaks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
