"""The options of ``moe-eval routing``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.prompt_options import add_asked_model

if TYPE_CHECKING:
    from moe_eval_plugin.commands.subcommand import Options

# Options that ask a model, by their names here.
OF_A_MODEL = (
    *("against", "tasks", "limit", "host", "model_args", "batch_size", "device"),
    *("num_fewshot", "apply_chat_template", "include_path", "new_tokens", "max_tokens"),
)


def add_questions(verb: Options) -> None:
    """Add what a model is asked."""
    verb.add_argument(
        "--against",
        metavar="MODEL",
        help="another checkpoint of the model, to compare the choices with",
    )
    verb.add_argument(
        *("-t", "--tasks"), nargs="+", metavar="TASK", help="tasks of the host, e.g. easy_vqa okvqa"
    )
    verb.add_argument(
        *("-l", "--limit"), type=int, metavar="N", help="questions of each task (default: all)"
    )
    add_asked_model(verb, ", for both checkpoints")
    verb.add_argument(
        "--new-tokens",
        type=int,
        metavar="N",
        help="generated tokens of each answer to record as well (default: 0, prompts only)",
    )
    verb.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="record about N tokens at most, an equal share of each task (default: 200,000)",
    )


def add_traces(verb: Options) -> None:
    """Add traces that are read instead of asking a model."""
    verb.add_argument(
        "--traces", type=Path, metavar="FOLDER", help="read the choices from here; ask no model"
    )
    verb.add_argument(
        "--against-traces",
        type=Path,
        metavar="FOLDER",
        help="choices of another checkpoint for the same tokens",
    )


def add_output(verb: Options) -> None:
    """Add what is written, and how it is shown."""
    verb.add_argument(
        *("-o", "--output"),
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder to write; an earlier study in it is replaced",
    )
    verb.add_argument(
        "--tokenizer",
        metavar="FOLDER",
        help="folder or model whose tokenizer says what tokens are (default: that of MODEL)",
    )
    verb.add_argument("--open", action="store_true", help="open the page in the browser")
    verb.add_argument("--json", action="store_true", help="print JSON: paths and findings")
