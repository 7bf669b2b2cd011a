"""The ``console`` blocks of the documentation, and the mark above each."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
)
KINDS = ("not run", "run with", "ends with")
MARK = re.compile(rf"<!-- ({'|'.join(KINDS)}): *(.*?) *-->\s*", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of commands, as one page has it."""

    page: str
    """Path of the page below the root of the repository."""
    line: int
    """Number of the line that opens the block, counted from 1."""
    text: str
    """The commands."""
    above: str
    """The HTML comment directly above the block; empty without one."""

    @property
    def where(self) -> str:
        """The page and the line, as editors read them."""
        return f"{self.page}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Why the block is not run; ``None`` where it is."""
        return self._mark("not run")

    @property
    def options(self) -> tuple[str, ...]:
        """Options that the last command of the block gets in a test."""
        return tuple(shlex.split(self._mark("run with") or ""))

    @property
    def exit_code(self) -> int:
        """The exit code that the last command of the block must have."""
        return int(self._mark("ends with") or 0)

    def _mark(self, kind: str) -> str | None:
        found = MARK.fullmatch(self.above)
        return found[2] if found and found[1] == kind else None


@cache
def blocks_of(path: Path) -> tuple[Block, ...]:
    """List the console blocks of a page, in their order."""
    return blocks_in(path.read_text("utf-8"), str(path.relative_to(ROOT)))


def blocks_in(text: str, page: str) -> tuple[Block, ...]:
    """List the console blocks of a text, in their order."""
    tokens = MarkdownIt("commonmark").parse(text)
    found = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type != "fence" or token.info.strip() != "console":
            continue
        start = (token.map or [0])[0]
        is_above = before is not None and before.type == "html_block"
        touches = before is not None and (before.map or [0, 0])[1] == start
        above = before.content if before is not None and is_above and touches else ""
        found.append(Block(page, start + 1, token.content, above))
    return tuple(found)


def all_blocks() -> list[Block]:
    """List the console blocks of all pages."""
    return [block for path in PAGES for block in blocks_of(path)]


def runs_of(*folders: str) -> list[Path]:
    """List the pages directly in these folders of the repository with a block that is run."""
    pages = [path for path in PAGES if str(path.parent.relative_to(ROOT)) in folders]
    return [path for path in pages if any(block.reason is None for block in blocks_of(path))]
