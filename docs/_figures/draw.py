"""Write all figures of the documentation into ``docs/figures``: ``make figures``.

A module beside this one has ``FIGURES``, which maps the name of each file to the function that
returns its SVG.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
OUT = HERE.parent / "figures"
NO_FIGURES = {"draw", "svg"}


def drawn() -> Iterator[tuple[str, str]]:
    """Yield the name and the SVG of every figure."""
    sys.path.insert(0, str(HERE))
    try:
        for path in sorted(HERE.glob("*.py")):
            if path.stem not in NO_FIGURES:
                figures = importlib.import_module(path.stem).FIGURES
                yield from ((name, draw()) for name, draw in figures.items())
    finally:
        sys.path.remove(str(HERE))


def main() -> None:
    """Write each figure to a file of its name."""
    for name, svg in drawn():
        (OUT / f"{name}.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
