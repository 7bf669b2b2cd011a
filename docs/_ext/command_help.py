"""The directive ``command-help``: the help of ``moe-eval`` and its subcommands, from the parser.

The text is made when the documentation is built, so it cannot fall behind the command.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING
from unittest import mock

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

WIDTH = "80"


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and then the parsers of its subcommands, each once."""
    yield parser
    for action in parser._actions:  # noqa: SLF001  (argparse has no public list of subcommands)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for parser_of_command in dict.fromkeys(action.choices.values()):
                yield from parsers(parser_of_command)


def help_texts(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Map each command, for instance ``moe-eval inspect``, to what its ``--help`` prints."""
    with mock.patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}):
        return {part.prog: part.format_help() for part in parsers(parser)}


class CommandHelp(SphinxDirective):
    """A section for each command, with its help."""

    def run(self) -> list[nodes.Node]:
        """Build the sections from the parser that the command itself uses."""
        from moe_eval_plugin.cli import build_parser

        return [
            self._section(command, text) for command, text in help_texts(build_parser()).items()
        ]

    def _section(self, command: str, text: str) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(command)], names=[command])
        section += nodes.title(text=command)
        section += nodes.literal_block(text, text, language="text")
        return section


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
