"""The form of help: a short usage, text as wide as the terminal, and the general options last."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from moe_eval_plugin.text import terminal_width, wrap

NAMES_WIDTH = 26


class HelpText(argparse.HelpFormatter):
    """Wraps paragraphs to the terminal and keeps lines that are indented, such as examples."""

    def __init__(self, prog: str, **how: Any) -> None:  # noqa: ANN401  (those of the base)
        how = {"max_help_position": NAMES_WIDTH, "width": terminal_width(), **how}
        super().__init__(prog, **how)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for is_kept, group in itertools.groupby(text.splitlines(), _is_kept):
            found = list(group)
            lines += found if is_kept else wrap(" ".join(found), width, first=indent, rest=indent)
        return "\n".join(lines)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(" ".join(text.split()), width)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        """Return the values of an option, those of a list as ``K ...``."""
        if action.nargs == argparse.ONE_OR_MORE:
            return f"{self._metavar_formatter(action, default_metavar)(1)[0]} ..."
        return super()._format_args(action, default_metavar)

    def arguments(self, action: argparse.Action) -> str:
        """Return an argument or an option with its values, for a usage."""
        if not action.option_strings:
            name = self._get_default_metavar_for_positional(action)
            return self._format_args(action, name)
        return self._format_action_invocation(action).rpartition(", ")[2]

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return the names of an option with its value once: ``-o, --output FOLDER``."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def short_usage(parser: argparse.ArgumentParser) -> str:
    """Return how a command is called: its required options and its arguments, and no others."""
    formatter = HelpText(parser.prog)
    actions = parser._actions  # noqa: SLF001  (argparse has no public list)
    arguments = [one for one in actions if not one.option_strings]
    needed = [one for one in actions if one.required and one.option_strings]
    return " ".join([parser.prog, *map(formatter.arguments, [*arguments, *needed]), "[options]"])


def _is_kept(line: str) -> bool:
    return not line or line.startswith(" ")
