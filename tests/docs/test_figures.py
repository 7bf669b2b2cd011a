"""The figures of the documentation are those that its programs draw."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def drawn(repository_root: Path) -> dict[str, str]:
    path = repository_root / "docs" / "_figures" / "draw.py"
    spec = importlib.util.spec_from_file_location("draw_figures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.drawn())


def test_the_files_are_what_is_drawn(drawn: dict[str, str], repository_root: Path) -> None:
    files = (repository_root / "docs" / "figures").glob("*.svg")

    assert {path.stem: path.read_text("utf-8") for path in files} == drawn


def test_each_figure_says_what_one_sees(drawn: dict[str, str]) -> None:
    titles = [ET.fromstring(svg).findtext("{*}title") for svg in drawn.values()]  # noqa: S314

    assert titles
    assert all(title and len(title) > 40 for title in titles)


def test_each_figure_is_on_a_page(drawn: dict[str, str], repository_root: Path) -> None:
    folder = repository_root / "docs"
    pages = "".join(page.read_text("utf-8") for page in folder.rglob("*.md"))

    assert [name for name in drawn if f"figures/{name}.svg" not in pages] == []


def test_no_text_leaves_its_figure(drawn: dict[str, str]) -> None:
    assert {name: found for name, svg in drawn.items() if (found := texts_outside(svg))} == {}


def texts_outside(svg: str) -> list[str]:
    """List the texts that are wider than their place, by the usual width of a character."""
    root = ET.fromstring(svg)  # noqa: S314
    found = []
    for text in root.iterfind(".//{*}text"):
        shown, x = text.text or "", float(text.get("x", "nan"))
        width = len(shown) * (6.2 if "small" in text.get("class", "") else 7.2)
        left = x - width * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")]
        if not 0 <= left <= float(root.get("width", "nan")) - width:
            found.append(shown)
    return found
