"""A page that a command wrote opens in the browser, and long names in tables break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pygments.token import Name

from tests.docs.extensions import built, extension

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "| name |\n|---|\n| `text_config.num_experts` |\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name in ("line_breaks", "live_pages"):
        extension(name, repository_root)
    (folder / "runs" / "first").mkdir(parents=True)
    (folder / "runs" / "first" / "report.html").write_text("<title>A report</title>", "utf-8")
    (folder / "pages").mkdir()
    code = "`text_config.num_experts --experts-k`"
    text = f"# Page\n\n[open](../runs/first/report.html)\n\n{TABLE}\n{code}\n"
    (folder / "pages" / "page.md").write_text(text, "utf-8")
    (folder / "first.md").write_text(
        "# First\n\n[open](runs/first/report.html)\n\n```{toctree}\npages/page\n```\n", "utf-8"
    )
    return built(folder, "line_breaks", "live_pages", first="first")


def test_links_open_a_copy_of_the_page(site: Path) -> None:
    copy = site / "runs" / "first" / "report.html"

    assert copy.read_text("utf-8") == "<title>A report</title>"
    assert 'href="runs/first/report.html"' in (site / "first.html").read_text("utf-8")
    page = (site / "pages" / "page.html").read_text("utf-8")
    assert 'href="../runs/first/report.html"' in page
    assert "_downloads" not in page


def test_names_in_tables_break_at_their_signs_and_stay_as_they_are(site: Path) -> None:
    page = (site / "pages" / "page.html").read_text("utf-8")

    cell = page.partition("<td>")[2].partition("</td>")[0]
    assert cell.count("<wbr>") == 3
    outside = page.partition("</table>")[2]
    assert "<wbr>" not in outside
    assert outside.count('class="option-name"') == 1


def test_options_in_console_blocks_are_seen(repository_root: Path) -> None:
    lexer = extension("console_lexer", repository_root).ConsoleLexer()

    kinds = dict(reversed(pair) for pair in lexer.get_tokens("moe-eval sweep -k 8 --batch-size 4"))

    assert {"-k", "--batch-size"} == {text for text in kinds if kinds[text] is Name.Attribute}
