"""``moe-eval convert``: make a model of a training framework's checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, shown, sweep_command
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.conversion.options import DTYPES, LAYOUTS, ConversionOptions
from moe_eval_plugin.option_values import read_new_folder
from moe_eval_plugin.text import gib_text, labelled, wrap

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.conversion.flame_moe.summary import ConversionSummary

DESCRIPTION = """\
Convert a checkpoint of a training framework to a folder that transformers and vLLM load, and that
every other command takes as a model.
"""
FLAME_DESCRIPTION = """\
Convert a checkpoint of FLAME-MoE, or of one of its dense baselines, as Megatron-core saved it
(format torch_dist). Megatron and a GPU are not needed. Tensors are read one at a time, so memory
depends on the largest tensor, not on the number of layers.

CHECKPOINT is a run directory, with latest_checkpointed_iteration.txt and iter_ folders, or one
iter_ folder. States of the optimizer are left out. OUTPUT appears when it is complete. After
Ctrl-C the same command continues: files of weights that are complete are kept.

No code of a checkpoint runs: its pickles are read without running what they name. A file that names
anything but the classes of a checkpoint is refused, as is one that is broken or that refers to
files elsewhere. A model that the layout cannot represent exactly is refused too.

layouts of a model with experts:
  deepseek   shows routed and shared experts apart, and computes the router in
             float32, as in training. transformers and vLLM load it where this
             package is installed.
  qwen2_moe  loads in transformers and vLLM as they are, and is exact in
             float32. In bfloat16 its router computes in bfloat16 too.
A dense model becomes a llama, whatever the layout.
"""
EPILOG = """\
examples:
  hf download EleutherAI/pythia-12b tokenizer.json tokenizer_config.json \\
    special_tokens_map.json --local-dir pythia
  moe-eval convert flame-moe runs/flame-moe-290m models/flame-moe-290m \\
    --tokenizer pythia
  moe-eval convert flame-moe runs/flame-moe-290m/iter_0005400 models/at-5400 \\
    --layout qwen2_moe --dtype float32
  moe-eval inspect models/flame-moe-290m
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    summary = "make a model of a Megatron checkpoint (FLAME-MoE)"
    verb = add_verb(verbs, "convert", run, summary, (DESCRIPTION, EPILOG))
    parts = verb.add_subparsers(title="commands", metavar="FORMAT", required=True)
    flame = add_verb(
        parts,
        "flame-moe",
        run,
        "convert FLAME-MoE and its dense baselines",
        (FLAME_DESCRIPTION, EPILOG),
    )
    flame.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="run directory, or one iter_ folder"
    )
    flame.add_argument("output", type=Path, metavar="OUTPUT", help="new folder for the model")
    flame.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help=f"model type of a model with experts (default: {LAYOUTS[0]})",
    )
    flame.add_argument(
        "--tokenizer",
        type=Path,
        metavar="DIR",
        help="folder with tokenizer.json, whose files are copied (default: none)",
    )
    flame.add_argument(
        "--dtype", choices=DTYPES, help="data type of the weights (default: as stored)"
    )
    flame.add_argument(
        "--iteration",
        type=int,
        metavar="N",
        help="iteration of a run directory (default: the latest)",
    )
    flame.add_argument(
        "--restart",
        action="store_true",
        help="delete an unfinished conversion of OUTPUT, and begin again",
    )
    flame.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(options: argparse.Namespace) -> int:
    """Convert, and print what the model is and which commands take it."""
    from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe

    read_new_folder("OUTPUT", options.output)
    chosen = ConversionOptions(
        layout=options.layout,
        dtype=options.dtype,
        tokenizer=options.tokenizer,
        iteration=options.iteration,
        restart=options.restart,
    )
    with Status.of(options) as status:
        summary = convert_flame_moe(options.checkpoint, options.output, chosen, status)
    if options.json:
        print(json.dumps(summary.to_dict(), indent=2, ensure_ascii=False))
        return 0
    print("\n".join(_lines(summary)))
    if not is_silent(options):
        for note in summary.notes:
            print("\n".join(wrap(note, first="Note: ", rest="  ")))
        show_end(following=f"moe-eval inspect {shown(summary.output)}")
        show_end(following=sweep_command(str(summary.output)))
    return 0


def _lines(summary: ConversionSummary) -> list[str]:
    from moe_eval_plugin.conversion.flame_moe.summary import experts_text, layers_text
    from moe_eval_plugin.models.inspection.text import count_text

    total, active = count_text(summary.n_parameters), count_text(summary.n_active)
    iteration = "release" if summary.iteration is None else f"iteration {summary.iteration:,}"
    both = f"{total} in total, {active} for each token"
    rows = (
        ("model", shown(summary.output)),
        ("source", f"{shown(summary.source)} ({iteration})"),
        ("layout", f"{summary.layout}, {summary.dtype}, {gib_text(summary.n_bytes)}"),
        ("parameters", both if summary.model.n_experts else total),
        ("layers", layers_text(summary.model)),
        ("experts", experts_text(summary.model)),
    )
    return labelled(rows)
