"""The options of a model that is asked the prompts of tasks, and scored by none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moe_eval_plugin.commands.subcommand import Options


def add_asked_model(verb: Options, also: str = "") -> None:
    """Add how a model is loaded and asked; ``also`` ends the help of its arguments."""
    verb.add_argument(
        "--host",
        choices=("lmms-eval", "lm-eval"),
        help="host whose prompts are used (default: lmms-eval where it is installed)",
    )
    verb.add_argument(
        *("-a", "--model-args"),
        metavar="NAME=VALUE[,..]",
        help=f"further arguments of the model, e.g. dtype=bfloat16{also}",
    )
    verb.add_argument(
        *("-b", "--batch-size"), type=int, metavar="N", help="prompts in a batch (default: 8)"
    )
    verb.add_argument("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    verb.add_argument(
        "--num-fewshot", type=int, metavar="N", help="examples in each prompt (default: the task's)"
    )
    verb.add_argument(
        "--apply-chat-template",
        action="store_true",
        help="pass prompts through the chat template, with lm-eval; lmms-eval always does",
    )
    verb.add_argument("--include-path", metavar="FOLDER", help="a folder with more tasks")
