"""``moe-eval completion``: print what completes the command in a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands import lm_eval
from moe_eval_plugin.commands.subcommand import add_verb

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moe_eval_plugin.commands.subcommand import Subcommands

SHELLS = ("bash", "zsh", "tcsh", "fish")
DESCRIPTION = """\
Print a script that completes commands, options and file names in a shell.
"""
EPILOG = """\
examples:
  source <(moe-eval completion bash)
  moe-eval completion bash > ~/.local/share/bash-completion/completions/moe-eval
  moe-eval completion zsh > "${fpath[1]}/_moe-eval"
  moe-eval completion fish > ~/.config/fish/completions/moe-eval.fish
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    summary = "print the completion script of a shell"
    verb = add_verb(verbs, "completion", run, summary, (DESCRIPTION, EPILOG))
    verb.add_argument("shell", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    lm_eval.add_host_options(options.parser)
    for action in _actions(options.parser):
        if isinstance(action.choices, dict):
            # The verbs are listed by the help itself, and shtab leaves out what has none.
            action.help = "verbs"
        if action.type is Path or "FILE" in str(action.metavar):
            # Where shtab looks.
            vars(action)["complete"] = shtab.FILE
    print(shtab.complete(options.parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options and arguments of a parser and of its subcommands."""
    for action in parser._actions:  # noqa: SLF001  (argparse has no public list)
        yield action
        if isinstance(action.choices, dict):
            for verb in action.choices.values():
                yield from _actions(verb)
