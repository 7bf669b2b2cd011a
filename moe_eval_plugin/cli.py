"""The command ``moe-eval``: parse the arguments, run a subcommand, return an exit code."""

from __future__ import annotations

import argparse
import atexit
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from moe_eval_plugin.commands import (
    bench,
    bundle,
    compare,
    completion,
    convert,
    data,
    demo,
    doctor,
    export,
    families,
    inspect,
    lm_eval,
    report,
    reproduce,
    routing,
    schedule,
    sweep,
    tasks,
    tasks_path,
    tune,
)
from moe_eval_plugin.commands.colour import coloured
from moe_eval_plugin.commands.subcommand import (
    EXIT_USAGE,
    CommandParser,
    add_general_options,
    print_error,
    with_dashes,
)
from moe_eval_plugin.errors import MoEEvalError
from moe_eval_plugin.text import labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
# Where the summaries of the verbs begin.
SUMMARY_COLUMN = 14
# The verbs, as people look for them.
COMMANDS = {
    "Run": (demo, sweep, tune, bench, lm_eval),
    "Look": (inspect, routing, families, tasks, doctor),
    "Use": (report, compare, schedule, export),
    "Share": (bundle, reproduce),
    "Prepare": (convert, data),
    "Shell": (completion, tasks_path),
}
SHOWN_PACKAGES = ("lmms-eval", "lm-eval", "transformers", "torch")

DESCRIPTION = """\
Measure how accuracy and speed change when a Mixture-of-Experts model uses fewer experts per token.
Start with `moe-eval demo`, then `moe-eval sweep --help`.
"""
EPILOG = """\
examples:
  moe-eval demo
  moe-eval doctor
  moe-eval inspect demo
  moe-eval sweep --model-args pretrained=demo --tasks easy_vqa \\
    --output runs/sweep
  lmms-eval --model moe_hf --model_args pretrained=demo,experts_k=4 \\
    --tasks easy_vqa
  moe-eval lm-eval run --model moe_hf --tasks arc_easy \\
    --model_args pretrained=allenai/OLMoE-1B-7B-0924,experts_k=4

Options may be spelt with - or _. For the options of a command: `moe-eval COMMAND --help`, or
`moe-eval help COMMAND`.

exit codes:
  0    success
  1    a check failed
  2    wrong request: the message says what to change
  3    internal error or failed verification (please report)
  130  interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Errors of this package show their traceback with --verbose only.
    """
    with coloured():
        return _main(_help_of_a_verb(list(sys.argv[1:] if arguments is None else arguments)))


def _main(given: list[str]) -> int:
    try:
        try:
            return _run(given)
        finally:
            sys.stdout.flush()
            # Libraries take a while to end; Ctrl-C then would print a traceback of theirs.
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    except MoEEvalError as error:
        if not {"-v", "--verbose"}.isdisjoint(given):
            traceback.print_exception(error)
        print_error(f"moe-eval: {error}")
        return error.exit_code
    except KeyboardInterrupt as stop:
        kept = str(stop) or "Nothing was written. Run the same command to start again."
        print(f"Interrupted. {kept}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe; Python flushes once more at exit, into the null device then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


class MainParser(CommandParser):
    """Lists the verbs in sections: how they are used, and not how they are parsed."""

    def __init__(self) -> None:
        super().__init__(prog="moe-eval", epilog=EPILOG)
        self.sections: dict[str, list[tuple[str, str]]] = {}
        """The verbs of each section, each with its summary."""
        verbs = self.add_subparsers(
            parser_class=CommandParser, metavar="COMMAND", help=argparse.SUPPRESS
        )
        for title, commands in COMMANDS.items():
            # argparse has the summaries of verbs nowhere else.
            n_before = len(verbs._choices_actions)  # noqa: SLF001
            for command in commands:
                command.add(verbs)
            added = verbs._choices_actions[n_before:]  # noqa: SLF001
            self.sections[title] = [(one.dest, one.help or "") for one in added]

    def format_help(self) -> str:
        """Return the help, with the verbs below the description."""
        parts = [
            "\n".join(
                [
                    f"{title}:",
                    *labelled(((f"  {verb}", text) for verb, text in verbs), SUMMARY_COLUMN),
                ]
            )
            for title, verbs in self.sections.items()
        ]
        self.description = "\n\n".join([DESCRIPTION.strip(), *parts])
        return super().format_help()


def build_parser() -> MainParser:
    """Build the parser of the whole command; the docs' reference is generated from it."""
    parser = MainParser()
    parser.add_argument(
        "--version", action=_VersionAction, help="show the versions that matter, and exit"
    )
    add_general_options(parser)
    parser.set_defaults(run=None, parser=parser)
    return parser


def _run(arguments: list[str]) -> int:
    if arguments[:1] == [lm_eval.NAME]:
        return lm_eval.hand_over(arguments[1:])
    parser = build_parser()
    options = parser.parse_args(with_dashes(arguments))
    if options.run is None:
        parser.print_help()
        return EXIT_USAGE
    code: int = options.run(options)
    return code


def _help_of_a_verb(arguments: list[str]) -> list[str]:
    """Return ``help VERB`` as ``VERB --help``, and ``help`` alone as ``--help``."""
    return [*arguments[1:2], "--help"] if arguments[:1] == ["help"] else arguments


class _VersionAction(argparse.Action):
    """Read the versions only when they are requested."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002  (argparse's name)
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(_versions())
        parser.exit()


def _versions() -> str:
    from importlib import metadata

    lines = [f"moe-eval-plugin {metadata.version('moe-eval-plugin')}"]
    for name in SHOWN_PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} not installed")
    return "\n".join(lines)
