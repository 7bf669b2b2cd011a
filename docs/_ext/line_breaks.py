"""Where code in a text may be broken at the end of a line.

Long names in tables break at their underscores, points and slashes, and not inside a word. The
name of an option is not broken at its hyphens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

WORDS = re.compile(r"(\s+)")
PARTS = re.compile(r"(?<=[_./,=:])(?=\w)")


class LineBreaks(SphinxPostTransform):
    """Marks in code where a line may end, and where not; the text stays as it is."""

    default_priority = 900
    formats = ("html",)

    def run(self, **_: Any) -> None:  # noqa: ANN401  (Sphinx's own signature)
        """Mark all code of the page."""
        for literal in list(self.document.findall(nodes.literal)):
            if all(isinstance(child, nodes.Text) for child in literal.children):
                is_in_table = _is_in_table(literal)
                marked = list(_marked(literal.astext(), is_in_table=is_in_table))
                literal.children = []
                literal.extend(marked)


def _is_in_table(node: nodes.Node) -> bool:
    while node.parent is not None and not isinstance(node, nodes.entry):
        node = node.parent
    return isinstance(node, nodes.entry)


def _marked(text: str, *, is_in_table: bool) -> Iterator[nodes.Node]:
    for word in WORDS.split(text):
        if word.startswith("-"):
            yield nodes.inline("", word, classes=["option-name"])
        else:
            first, *more = PARTS.split(word) if is_in_table else [word]
            yield nodes.Text(first)
            for part in more:
                yield nodes.raw("", "<wbr>", format="html")
                yield nodes.Text(part)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_post_transform(LineBreaks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
