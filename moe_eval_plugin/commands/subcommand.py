"""Add a subcommand to ``moe-eval``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.commands.help_text import HelpText, short_usage
from moe_eval_plugin.option_values import DECIMAL, WHOLE
from moe_eval_plugin.text import did_you_mean, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    # A parser, or a group of its options.
    Options: TypeAlias = "argparse._ActionsContainer"  # noqa: SLF001  (no other)
    Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  (no other)

EXIT_USAGE = 2
# The names of lmms-eval for options that are called differently here, in every command.
OTHER_NAMES = {"--output-path": "--output"}
GENERAL_OPTIONS = ("quiet", "verbose", "no_progress")


class CommandParser(argparse.ArgumentParser):
    """A parser that refuses an option that is given twice, and a value that is empty.

    ``argparse`` would keep the last of two values, and take ``1_0`` and ``nan`` for numbers.
    """

    def __init__(self, *arguments: Any, **how: Any) -> None:  # noqa: ANN401  (those of the base)
        super().__init__(*arguments, **{"formatter_class": HelpText, **how})
        for kind in (None, "store"):
            self.register("action", kind, _StoreOnce)
        self.register("action", "store_true", _StoreTrueOnce)
        readers: dict[Any, Any] = {None: _text, int: _whole, float: _number, Path: _path}
        for wanted, read in readers.items():
            self.register("type", wanted, read)

    def format_help(self) -> str:
        """Return the help: usage, description, options by group with the general ones last."""
        self._positionals.title = "arguments"
        formatter = self._get_formatter()
        formatter.add_usage(short_usage(self), (), ())
        formatter.add_text(self.description)
        first = (group for group in self._action_groups if group is not self._optionals)
        for group in (*first, self._optionals):
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)  # noqa: SLF001  (as the base does)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    # The base has an overload for each kind of namespace.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all arguments; an unknown one is an error of this very parser, before any other."""
        self._refuse_unknown([one for one in args or () if self._is_unknown(one)])
        found, unknown = super().parse_known_args(args, namespace)
        self._refuse_unknown(unknown)
        return found, []

    def _is_unknown(self, argument: str) -> bool:
        """Whether an argument is an option that neither this parser nor one of its verbs has."""
        name = argument.partition("=")[0]
        is_option = len(name) > len("--") and name.startswith("--") and " " not in name
        known = self._option_string_actions
        return self._subparsers is None and is_option and not any(k.startswith(name) for k in known)

    def _refuse_unknown(self, unknown: Sequence[str]) -> None:
        if unknown:
            hint = did_you_mean(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}.{hint}")

    def error(self, message: str) -> NoReturn:
        """End the program with one line and exit code 2, without the usage."""
        end = "" if message.endswith((".", "?")) else "."
        print_error(f"{self.prog}: error: {message}{end} See `{self.prog} --help`.")
        self.exit(EXIT_USAGE)

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            hint = did_you_mean(str(value), map(str, action.choices or ()))
            error.message = f"{error.message}.{hint}" if hint else error.message
            raise


class _Once(argparse.Action):
    """Stores a value, the first time."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401  (of the option's type)
        option_string: str | None = None,
    ) -> None:
        given: set[str] = namespace.__dict__.setdefault("_given", set())
        if option_string is not None and self.dest in given:
            parser.error(f"argument {option_string}: it is given more than once. Give it once.")
        given.add(self.dest)
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


class _StoreOnce(_Once):
    """The action ``store``."""


class _StoreTrueOnce(_Once):
    """The action ``store_true``."""

    def __init__(self, option_strings: list[str], dest: str, **how: Any) -> None:  # noqa: ANN401
        how.setdefault("default", False)
        super().__init__(option_strings, dest, nargs=0, **how)


def _text(text: str) -> str:
    if not text.strip():
        message = "it has no value. Write one, or leave the option out for its default."
        raise argparse.ArgumentTypeError(message)
    return text


def _whole(text: str) -> int:
    if not WHOLE.fullmatch(_text(text)):
        message = f"{text!r} is not a whole number."
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _number(text: str) -> float:
    number = float(text) if DECIMAL.fullmatch(_text(text)) else float("inf")
    if number in {float("inf"), float("-inf")}:
        message = f"{text!r} is not a number."
        raise argparse.ArgumentTypeError(message)
    return number


def _path(text: str) -> Path:
    return Path(_text(text))


def print_error(text: str) -> None:
    """Print an error: wrapped on a terminal, elsewhere one line that can be searched."""
    print("\n".join(wrap(text)) if sys.stderr.isatty() else text, file=sys.stderr)


def with_dashes(arguments: Sequence[str]) -> list[str]:
    """Return arguments with the options' names of this command, and with dashes in them.

    lmms-eval writes ``--experts_k``, and ``--output_path`` for ``--output``.
    """
    return [_with_dashes(one) if one.startswith("--") else one for one in arguments]


def _with_dashes(option: str) -> str:
    name, equals, value = option.partition("=")
    name = name.replace("_", "-")
    return f"{OTHER_NAMES.get(name, name)}{equals}{value}"


def add_general_options(parser: argparse.ArgumentParser, *, is_verb: bool = False) -> None:
    """Add the options of every command; they may come before the verb or after it."""
    # A verb without the option must not reset what came before it.
    how: dict[str, Any] = {"default": argparse.SUPPRESS} if is_verb else {}
    parser.add_argument(
        *("-q", "--quiet"), action="store_true", help="print errors and the result only", **how
    )
    parser.add_argument(
        *("-v", "--verbose"),
        action="store_true",
        help="show the logs of libraries as they are written, and tracebacks",
        **how,
    )
    parser.add_argument(
        "--no-progress", action="store_true", help="do not show what is being done", **how
    )


def add_verb(
    verbs: Subcommands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    texts: tuple[str, str],
) -> argparse.ArgumentParser:
    """Add a subcommand with a one-line summary; ``texts`` are its description and examples."""
    verb = verbs.add_parser(
        name,
        help=summary,
        description=texts[0],
        epilog=texts[1],
    )
    verb.set_defaults(run=run)
    add_general_options(verb, is_verb=True)
    return verb
