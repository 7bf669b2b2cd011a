"""The options of ``moe-eval tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moe_eval_plugin.commands.subcommand import Options

# The options that make the request, by their names here.
OF_THE_REQUEST = (
    *("calibration", "calibration_split", "data_free", "answer_tokens", "seed"),
    *("target", "unit", "by", "policy", "experts_k"),
    *("host", "model_args", "batch_size", "device", "include_path", "num_fewshot"),
    "apply_chat_template",
)


def add_questions(verb: Options) -> None:
    """Add what the model is calibrated on."""
    verb.add_argument(
        *("-t", "--tasks"), nargs="+", metavar="TASK", help="tasks of the host, e.g. easy_vqa okvqa"
    )
    verb.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="questions to calibrate on, in all (default: 128)",
    )
    verb.add_argument(
        "--calibration-split",
        metavar="SPLIT",
        help="split to take them from (default: the training split, or else the split that the "
        "task evaluates, whose questions a report then leaves out)",
    )
    verb.add_argument(
        "--data-free",
        action="store_true",
        help="use random tokens instead of prompts; needs no task",
    )
    verb.add_argument(
        "--answer-tokens",
        type=int,
        metavar="N",
        help="tokens of each answer to compare at most (default: 8)",
    )
    verb.add_argument("--seed", type=int, metavar="N", help="choose other questions (default: 0)")


def add_search(verb: Options) -> None:
    """Add what is searched for."""
    verb.add_argument(
        "--target",
        nargs="+",
        type=float,
        metavar="SHARE",
        help="largest price, as a share of the published model's (default: the price of each "
        "smaller uniform k)",
    )
    verb.add_argument(
        "--unit",
        choices=("experts", "flops", "time"),
        help="what the price counts: routed experts per token (default), FLOPs of the language "
        "model, or measured time",
    )
    verb.add_argument(
        "--by",
        choices=("layer", "modality", "phase"),
        help="what k may differ by: layer (default), or modality or phase too",
    )
    verb.add_argument(
        "--policy",
        nargs="+",
        metavar="NAME",
        help="calibrate these policies at each target too, e.g. top_p modes",
    )
    verb.add_argument(
        "--experts-k",
        nargs="+",
        type=int,
        metavar="K",
        help="the smaller k to choose from (default: all, or 7 of more and the uniform k of each "
        "target)",
    )


def add_output(verb: Options) -> None:
    """Add what is written, and how it is shown."""
    verb.add_argument(
        *("-o", "--output"),
        type=Path,
        required=True,
        metavar="FOLDER|FILE.yaml",
        help="folder of the study, or the file of the schedule of one target; an interrupted "
        "study in it is continued",
    )
    verb.add_argument("--json", action="store_true", help="print JSON: schedules, losses and paths")
