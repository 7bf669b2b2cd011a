"""Links in the files beside the documentation lead somewhere; Sphinx checks its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from tests.packaging.wheel_env import known_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from markdown_it.token import Token

DOCUMENTS = [name for name in known_files() if re.fullmatch(r"[A-Z]+\.md", name)]


def broken_links(document: Path) -> list[str]:
    """List the links of a document to a file or a heading that does not exist."""
    return [link for link in links(document) if not leads_somewhere(document, link)]


def links(document: Path) -> Iterator[str]:
    """Yield the links of a document to files of the project and to headings."""
    for token in tokens(document):
        for part in token.children or ():
            target = str(part.attrGet("href") or part.attrGet("src") or "")
            if target and not target.startswith(("http://", "https://")):
                yield target


def leads_somewhere(document: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    path = document.parent / name if name else document
    return path.exists() and (not anchor or anchor in anchors(path))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST-Parser make them."""
    if page.suffix != ".md":
        return set()
    parsed = tokens(page)
    texts = [
        "".join(part.content for part in parsed[place + 1].children or ())
        for place, token in enumerate(parsed)
        if token.type == "heading_open"
    ]
    slugs = [re.sub(r"[^\w -]", "", text.strip().lower()).replace(" ", "-") for text in texts]
    repeated = {f"{slug}-{number}" for slug in slugs for number in range(1, slugs.count(slug))}
    return {*slugs, *repeated}


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files_and_headings(name: str, repository_root: Path) -> None:
    assert broken_links(repository_root / name) == []


def test_the_files_beside_the_documentation_have_links(repository_root: Path) -> None:
    assert {"ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"} <= set(DOCUMENTS)
    assert len(list(links(repository_root / "README.md"))) > 10


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "PAGE.md"
    other = "# A `code` heading, twice\n\n## Again\n\n## Again\n"
    (tmp_path / "other.md").write_text(other, "utf-8")
    good = ["other.md#a-code-heading-twice", "other.md#again-1", "#here", "https://example.org/#x"]
    bad = ["other.md#again-2", "#nowhere", "missing.md"]
    page.write_text("# Here\n\n" + "\n".join(f"[x]({link})" for link in [*good, *bad]), "utf-8")

    assert broken_links(page) == bad
