"""Pages that a command wrote, such as reports, opened in the browser instead of downloaded.

A Markdown link to a file ``*.html`` below ``docs`` leads to a copy of the file at the same place.
A link to a missing file is a warning, like each broken link.
"""

from __future__ import annotations

import posixpath
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

SUFFIX = ".html"
# Sphinx itself collects the files to download at 500.
BEFORE_DOWNLOADS = 400


def live_pages(source: Path) -> Iterator[Path]:
    """Yield the pages below a folder of the documentation, relative to it."""
    for path in sorted(source.glob(f"*/**/*{SUFFIX}")):
        page = path.relative_to(source)
        if not page.parts[0].startswith("_"):
            yield page


def _open_in_browser(app: Sphinx, doctree: nodes.document) -> None:
    here = posixpath.dirname(app.env.current_document.docname)
    for node in list(doctree.findall(addnodes.download_reference)):
        target = node["reftarget"]
        if target.endswith(SUFFIX):
            _, path = app.env.relfn2path(target)
            if Path(path).is_file():
                page = Path(path).relative_to(app.srcdir).as_posix()
                link = nodes.reference(refuri=posixpath.relpath(page, here or "."), internal=True)
                link.extend(node.children)
                node.replace_self(link)


def _copy(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        for page in live_pages(Path(app.srcdir)):
            copy = Path(app.outdir, page)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(app.srcdir, page), copy)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is done to links, and the copying of the pages."""
    app.connect("doctree-read", _open_in_browser, priority=BEFORE_DOWNLOADS)
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
