"""``moe-eval lm-eval``: run lm-eval with the models of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.commands.subcommand import CommandParser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from moe_eval_plugin.commands.subcommand import Subcommands

NAME = "lm-eval"
VERBS = ("run", "ls", "validate")
HELP = {"-h", "--help"}
# Between our help and that of the host.
HOSTS_HELP = "The help of lm-eval itself:"
DESCRIPTION = """\
Run lm-eval with the models of this package. Every option is lm-eval's own and is passed on as it is
written; `run` may be left out, as in lm-eval itself.

models for --model, each with the batching, the few-shot logic and the arguments of lm-eval's model
of the same name without moe_:
  moe_hf             text, by transformers
  moe_hf-multimodal  text and images, by transformers
  moe_vllm           text, by vLLM
  moe_vllm-vlm       text and images, by vLLM

further --model_args:
  experts_k=4         experts per token; or a schedule, such as 0-11:8/12-47:4
of moe_hf and moe_hf-multimodal:
  experts_policy=...  rule that drops some of the chosen experts, such as
                      top_p:0.7
  renorm=...          how the weights of the kept experts are scaled
  profile=...         what is measured: off, basic or full
  share_contexts=...  whether a context is computed once for all of its
                      choices: auto, no or yes; default: no
of moe_vllm and moe_vllm-vlm:
  verify=config       k as layers hold it, where a kernel hides the choice

k is checked before a weight is read, and verified on each task's own prompts before anything is
scored. Speed, memory and the observed k appear beside the scores, in the table and in the file.
"""
EPILOG = """\
examples:
  moe-eval lm-eval run --model moe_hf \\
    --model_args pretrained=allenai/OLMoE-1B-7B-0924,experts_k=4 \\
    --tasks arc_easy,hellaswag --output_path runs/k4 --log_samples
  moe-eval lm-eval ls tasks
  moe-eval lm-eval run --help
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand; its options are the host's, and ``hand_over`` takes them unparsed."""
    summary = "run lm-eval with models that use k experts"
    verb = verbs.add_parser(NAME, help=summary, description=DESCRIPTION, epilog=EPILOG)
    verb.set_defaults(run=run)
    _add_arguments(verb)


def run(options: argparse.Namespace) -> int:
    """Run lm-eval's command with a verb alone; return its exit code."""
    return hand_over([options.verb] if options.verb else [])


def hand_over(arguments: Sequence[str]) -> int:
    """Run lm-eval's command with these arguments, all of them unchanged; return its exit code.

    Before the host's help for a run, what this package adds is explained.
    """
    from moe_eval_plugin.hosts.harness import LM_EVAL, check_installed

    check_installed(LM_EVAL)
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    if not arguments or (verb in (None, "run") and not HELP.isdisjoint(arguments)):
        parser = CommandParser(
            prog=f"moe-eval {NAME}", description=DESCRIPTION, epilog=EPILOG, add_help=False
        )
        _add_arguments(parser)
        print(f"{parser.format_help()}\n{HOSTS_HELP}\n", flush=True)
    from moe_eval_plugin.hosts.lm_eval.running_command.run import run_command

    return run_command(arguments)


def add_host_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the host's run to this verb of a parser, for shells to complete."""
    from moe_eval_plugin.hosts.harness import LM_EVAL, is_installed

    if not is_installed(LM_EVAL):
        return
    from moe_eval_plugin.hosts.lm_eval.running_command.checks import run_parser

    verbs = next(one for one in parser._actions if isinstance(one.choices, dict))  # noqa: SLF001
    verb, of_the_host = dict(verbs.choices or {})[NAME], run_parser()
    for action in of_the_host._actions if of_the_host else ():  # noqa: SLF001  (no public list)
        if HELP.isdisjoint(action.option_strings):
            verb._add_action(action)  # noqa: SLF001


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    text = f"{', '.join(VERBS)} (default: run)"
    parser.add_argument("verb", nargs="?", choices=VERBS, metavar="verb", help=text)
