"""Add a subcommand to ``moe-eval``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.option_values import DECIMAL, WHOLE
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  (no other)

EXIT_USAGE = 2


class CommandParser(argparse.ArgumentParser):
    """A parser that refuses an option that is given twice, and a value that is empty.

    ``argparse`` would keep the last of two values, and take ``1_0`` and ``nan`` for numbers.
    """

    def __init__(self, *arguments: Any, **how: Any) -> None:  # noqa: ANN401  (those of the base)
        super().__init__(*arguments, **how)
        for kind in (None, "store"):
            self.register("action", kind, _StoreOnce)
        self.register("action", "store_true", _StoreTrueOnce)
        readers: dict[Any, Any] = {None: _text, int: _whole, float: _number, Path: _path}
        for wanted, read in readers.items():
            self.register("type", wanted, read)

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
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}{end} See `{self.prog} --help`.\n")

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


def with_dashes(arguments: Sequence[str]) -> list[str]:
    """Return arguments whose options are spelt with dashes: lmms-eval writes ``--experts_k``."""
    return [_with_dashes(one) if one.startswith("--") else one for one in arguments]


def _with_dashes(option: str) -> str:
    name, equals, value = option.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}"


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
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run)
    return verb
