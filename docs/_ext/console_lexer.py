"""Colour console blocks as commands: they have no prompts and no output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pygments.lexer import inherit
from pygments.lexers.shell import BashLexer
from pygments.token import Name

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class ConsoleLexer(BashLexer):
    """Bash, with options that can be seen and are kept in one line."""

    name = "Console"
    tokens: ClassVar[dict[str, Any]] = {
        "basic": [(r"(?<=\s)--?[A-Za-z][\w-]*", Name.Attribute), inherit]
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the lexer."""
    app.add_lexer("console", ConsoleLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
