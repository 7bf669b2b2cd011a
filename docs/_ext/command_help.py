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
from search_entries import Entry, enter
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

    from moe_eval_plugin.cli import MainParser

WIDTH = "80"
# argparse's title of the options that belong to no other group.
COMMON = "options"


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
    """A section for each command: its description, and its options with an anchor each.

    Options that every command has are in the section of ``moe-eval`` alone.
    """

    def run(self) -> list[nodes.Node]:
        """Build the sections from the parser that the command itself uses."""
        from moe_eval_plugin.cli import build_parser

        main = build_parser()
        verbs = list(parsers(main))[1:]
        return [
            _section(main.prog, _main_parts(main, self.env)),
            *(_section(verb.prog, _parts(verb, self.env)) for verb in verbs),
        ]


def _section(title: str, content: Iterable[nodes.Node]) -> nodes.section:
    section = nodes.section("", nodes.title(text=title), ids=[nodes.make_id(title)], names=[title])
    section.extend(content)
    section["support_smartquotes"] = False  # which would make a dash of the -- of options
    return section


def _main_parts(parser: MainParser, env: BuildEnvironment) -> Iterator[nodes.Node]:
    """Yield the help of ``moe-eval`` itself: the verbs as links, and what every command has."""
    from moe_eval_plugin.cli import DESCRIPTION

    yield from _blocks(DESCRIPTION)
    for title, verbs in parser.sections.items():
        yield nodes.rubric(text=title)
        items = [
            nodes.definition_list_item(
                "",
                nodes.term("", "", _link(verb, nodes.make_id(f"{parser.prog} {verb}"))),
                nodes.definition("", nodes.paragraph("", "", *_with_code(summary))),
            )
            for verb, summary in verbs
        ]
        yield nodes.definition_list("", *items, classes=["options"])
    common = [group for group in parser._action_groups if group.title == COMMON]  # noqa: SLF001
    yield from _groups(parser, common, env)
    yield from _blocks(parser.epilog or "")


def _parts(parser: argparse.ArgumentParser, env: BuildEnvironment) -> Iterator[nodes.Node]:
    from moe_eval_plugin.commands.subcommand import GENERAL_OPTIONS

    usage = help_texts(parser)[parser.prog].partition("\n\n")[0].removeprefix("usage: ")
    yield nodes.literal_block(usage, usage, language="text")
    yield from _blocks(parser.description or "")
    # As in the help: the options of no group come last.
    groups = sorted(parser._action_groups, key=lambda group: group.title == COMMON)  # noqa: SLF001
    yield from _groups(parser, groups, env, {"help", *GENERAL_OPTIONS})
    yield from _blocks(parser.epilog or "")


def _groups(
    parser: argparse.ArgumentParser,
    groups: Iterable[argparse._ArgumentGroup],
    env: BuildEnvironment,
    hidden: Collection[str] = (),
) -> Iterator[nodes.Node]:
    for group in groups:
        actions = [
            action
            for action in group._group_actions  # noqa: SLF001
            if action.help != argparse.SUPPRESS and action.dest not in hidden
        ]
        if actions and group.title:
            yield nodes.rubric(text=group.title.capitalize())
            items = [item for action in actions for item in _items(parser, action, env)]
            yield nodes.definition_list("", *items, classes=["options"])


def _items(
    parser: argparse.ArgumentParser, action: argparse.Action, env: BuildEnvironment
) -> Iterator[nodes.definition_list_item]:
    """Yield an argument, or each of the commands below a command, as a link."""
    if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
        yield _item(parser, action, env)
        return
    for verb in action._choices_actions:  # noqa: SLF001
        link = _link(verb.dest, nodes.make_id(f"{parser.prog} {verb.dest}"))
        summary = nodes.paragraph("", "", *_with_code(verb.help or ""))
        yield nodes.definition_list_item(
            "", nodes.term("", "", link), nodes.definition("", summary)
        )


def _item(
    parser: argparse.ArgumentParser, action: argparse.Action, env: BuildEnvironment
) -> nodes.definition_list_item:
    formatter = parser._get_formatter()  # noqa: SLF001  (argparse has no public one)
    names = formatter._format_action_invocation(action)  # noqa: SLF001  (nor of names and help)
    text = formatter._expand_help(action) if action.help else ""  # noqa: SLF001
    name = action.option_strings[-1] if action.option_strings else action.dest
    anchor = nodes.make_id(f"{parser.prog.removeprefix('moe-eval ')} {name}")
    term = nodes.term("", "", _link(names, anchor), ids=[anchor])
    if action.option_strings:
        term.insert(0, enter(env, Entry("moe-option", name, parser.prog, anchor)))
    return nodes.definition_list_item(
        "", term, nodes.definition("", nodes.paragraph("", "", *_with_code(text)))
    )


def _link(text: str, anchor: str) -> nodes.reference:
    return nodes.reference("", "", nodes.literal(text=text), refid=anchor)


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
    app.setup_extension("search_entries")
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
