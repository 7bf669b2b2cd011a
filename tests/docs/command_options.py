"""Whether the parsers of the commands take what the documentation writes; nothing is run."""

from __future__ import annotations

import contextlib
import io
import sys
from functools import cache
from typing import TYPE_CHECKING
from unittest.mock import patch

from moe_eval_plugin.cli import build_parser
from moe_eval_plugin.commands.subcommand import with_dashes
from moe_eval_plugin.errors import MoEEvalError
from moe_eval_plugin.hosts.harness import harness
from moe_eval_plugin.model_adapters.hf_arguments import read_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.commands.subcommand import CommandParser

VERBS_OF_LM_EVAL = ("run", "ls", "validate")
VERBS_OF_LMMS_EVAL = ("tasks", "models")


def refusal(words: Sequence[str]) -> str | None:
    """Return what a command would say about its options; ``None`` where all exist."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            _parser_of(words)()
    except SystemExit as ended:
        return said.getvalue() if ended.code else None
    except MoEEvalError as error:
        return str(error)
    return None


def _parser_of(words: Sequence[str]) -> Callable[[], None]:
    if words[0] == "lmms-eval":
        return lambda: _check_lmms_eval(words)
    if words[1:2] == ["lm-eval"]:
        return lambda: _check_lm_eval(words[2:])
    return lambda: _check_moe_eval(words[1:])


@cache
def _parser() -> CommandParser:
    return build_parser()


def _check_moe_eval(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(with_dashes(arguments))
    if arguments[:1] == ["sweep"] and "moe_hf" in options.model and options.host != "lm-eval":
        for text in options.model_args or ():
            read_arguments(harness("lmms-eval").read_arguments(text))


def _check_lmms_eval(words: Sequence[str]) -> None:
    if words[1] in VERBS_OF_LMMS_EVAL:
        return
    from lmms_eval.__main__ import parse_eval_args

    with patch.object(sys, "argv", [*words]):
        _, options = parse_eval_args()
    if options.model == "moe_hf":
        read_arguments(harness("lmms-eval").read_arguments(options.model_args))


def _check_lm_eval(arguments: Sequence[str]) -> None:
    from moe_eval_plugin.hosts.lm_eval.running_command.checks import run_parser

    parser = run_parser()
    verb = arguments[0] if arguments[0] in VERBS_OF_LM_EVAL else None
    if parser is not None and verb in (None, "run"):
        parser.parse_args(arguments[1:] if verb else [*arguments])
