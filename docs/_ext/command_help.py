"""The directive ``command-help``: the help of ``moe-eval`` and its subcommands, from the parser.

The text is made when the documentation is built, so it cannot fall behind the command.
"""

from __future__ import annotations

import argparse
import itertools
import os
import textwrap
from typing import TYPE_CHECKING
from unittest import mock

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    """A section for each command: its description, and its options with an anchor each."""

    def run(self) -> list[nodes.Node]:
        """Build the sections from the parser that the command itself uses."""
        from moe_eval_plugin.cli import build_parser

        main, *verbs = parsers(build_parser())
        text = help_texts(main)[main.prog]
        whole = _section(main.prog, [nodes.literal_block(text, text, language="text")])
        return [whole, *(_section(verb.prog, _parts(verb)) for verb in verbs)]


def _section(title: str, content: Iterable[nodes.Node]) -> nodes.section:
    section = nodes.section("", nodes.title(text=title), ids=[nodes.make_id(title)], names=[title])
    section.extend(content)
    section["support_smartquotes"] = False  # which would make a dash of the -- of options
    return section


def _parts(parser: argparse.ArgumentParser) -> Iterator[nodes.Node]:
    usage = help_texts(parser)[parser.prog].partition("\n\n")[0].removeprefix("usage: ")
    formatter = parser._get_formatter()  # noqa: SLF001  (argparse has no public one)
    yield nodes.literal_block(usage, usage, language="text")
    yield from _blocks(parser.description or "")
    # The options that every command has come last, as in its help.
    groups = sorted(parser._action_groups, key=lambda group: group.title == "options")  # noqa: SLF001
    for group in groups:
        actions = [
            action
            for action in group._group_actions  # noqa: SLF001
            if action.help != argparse.SUPPRESS
        ]
        if actions and group.title:
            yield nodes.rubric(text=group.title.capitalize())
            items = [_item(parser, formatter, action) for action in actions]
            yield nodes.definition_list("", *items, classes=["options"])
    yield from _blocks(parser.epilog or "")


def _item(
    parser: argparse.ArgumentParser, formatter: argparse.HelpFormatter, action: argparse.Action
) -> nodes.definition_list_item:
    names = formatter._format_action_invocation(action)  # noqa: SLF001  (nor of names and help)
    text = formatter._expand_help(action) if action.help else ""  # noqa: SLF001
    name = action.option_strings[-1] if action.option_strings else action.dest
    anchor = nodes.make_id(f"{parser.prog.removeprefix('moe-eval ')} {name}")
    link = nodes.reference("", "", nodes.literal(text=names), refid=anchor)
    return nodes.definition_list_item(
        "",
        nodes.term("", "", link, ids=[anchor]),
        nodes.definition("", nodes.paragraph("", "", *_with_code(text))),
    )


def _blocks(text: str) -> Iterator[nodes.Node]:
    """Yield the paragraphs of a help text, and its indented lines as they are."""
    for is_kept, lines in itertools.groupby(text.strip().splitlines(), _is_kept):
        if is_kept:
            kept = "\n".join(lines).strip("\n")
            if kept:
                kept = textwrap.dedent(kept)
                yield nodes.literal_block(kept, kept, language="text")
        else:
            yield nodes.paragraph("", "", *_with_code(" ".join(lines)))


def _is_kept(line: str) -> bool:
    return not line or line.startswith(" ")


def _with_code(text: str) -> Iterator[nodes.Node]:
    """Yield a text whose parts in backticks are code."""
    for number, part in enumerate(text.split("`")):
        yield nodes.literal(text=part) if number % 2 else nodes.Text(part)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
