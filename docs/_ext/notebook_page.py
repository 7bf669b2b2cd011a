"""Show a notebook with its stored outputs as a page; it is not executed here.

A cell of text is the Markdown of the other pages, so its links and headings are theirs too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from myst_parser.parsers.sphinx_ import MystParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx

FENCE = "````"
# The kinds of an output that a page can show, the best first.
HTML_KINDS = ("image/svg+xml", "text/html")
TEXT_KIND = "text/plain"


class NotebookParser(MystParser):
    """Parses the text of a notebook as the Markdown that it has."""

    supported: ClassVar[tuple[str, ...]] = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse the text of an ``.ipynb`` file."""
        super().parse(as_markdown(json.loads(inputstring)), document)


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return the cells of a notebook, and what they show, as Markdown."""
    return "\n\n".join(part for cell in notebook["cells"] for part in _parts(cell))


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield _fenced("python", source)
    for output in cell["outputs"]:
        data = output.get("data", {})
        html = next(("".join(data[kind]) for kind in HTML_KINDS if kind in data), None)
        text = "".join(output.get("text", data.get(TEXT_KIND, ""))).rstrip()
        if html is not None:
            table = html.replace("<table", '<table class="docutils"')
            yield _fenced("{raw} html", f'<div class="table-wrapper">{table}</div>')
        elif text:
            yield _fenced("text", text)


def _fenced(language: str, text: str) -> str:
    return f"{FENCE}{language}\n{text}\n{FENCE}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the kind of file, and what parses it."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
