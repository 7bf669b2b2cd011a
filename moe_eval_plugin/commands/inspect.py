"""``moe-eval inspect``: show the experts of a model and the cost at each k."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, sweep_command
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.option_values import read_new_file

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
Show the MoE layers of a model, its routed and shared experts, its k, whether the weights of the
chosen experts are renormalised, and at each k: parameters and FLOPs of a token, bytes of a decode
step, and the largest possible speed-up.

The speed-ups are ceilings, reached only if nothing but arithmetic (prefill) or reading weights and
cache (decode) takes time. Kernel launches, image encoding and the host lower them, and a large
batch touches nearly all experts at any k. Measure before you rely on one.

Only the configuration is read; no weights are downloaded or loaded.
"""
EPILOG = """\
examples:
  moe-eval inspect demo
  moe-eval inspect Qwen/Qwen3-VL-30B-A3B-Instruct --context 4096 \\
    --batch-sizes 1 16
  moe-eval inspect ./my-checkpoint --json
  moe-eval inspect ./my-checkpoint --plot costs.png    needs the extra "report"
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs,
        "inspect",
        run,
        "show the experts of a model and its cost at each k",
        (DESCRIPTION, EPILOG),
    )
    verb.add_argument(
        "model", metavar="MODEL", help="a folder, a model id of the Hub, or demo (embedded)"
    )
    verb.add_argument("--revision", help="branch, tag or commit on the Hub (default: main)")
    verb.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run the code that comes with a model that transformers does not know",
    )
    verb.add_argument(
        "--context",
        type=int,
        default=1024,
        metavar="TOKENS",
        help="tokens of the prompt and of the cache, for the costs (default: 1024)",
    )
    verb.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[1, 8, 64],
        metavar="N",
        help="sequences decoded at once (default: 1 8 64)",
    )
    verb.add_argument(
        "--dtype", help="data type of weights and cache in memory (default: the configuration's)"
    )
    verb.add_argument(
        "--plot", type=Path, metavar="PNG", help="also draw the costs over k as a PNG file"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Print the report on the requested model: first what its configuration states, at once."""
    from moe_eval_plugin.models.costs.cost_at_k import Scenario
    from moe_eval_plugin.models.inspection.report import inspect_model
    from moe_eval_plugin.models.inspection.text import render

    if options.plot is not None:
        from moe_eval_plugin.models.inspection.plot import check_plot

        read_new_file("--plot", options.plot)
        check_plot(options.plot)
    scenario = Scenario(options.context, tuple(options.batch_sizes), options.dtype)
    is_begun = not options.json and _print_experts(options)
    with Status.of(options) as status:
        status.doing("importing transformers, and building the model without its weights")
        report = inspect_model(
            options.model,
            options.revision,
            trust_remote_code=options.trust_remote_code,
            scenario=scenario,
        )
    if options.plot is not None:
        from moe_eval_plugin.models.inspection.plot import draw

        draw(report, options.plot)
    if options.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(render(report, after_experts=is_begun))
    if not is_silent(options) and report.costs and report.fixed_k_reason is None:
        print()
        show_end(following=sweep_command(options.model, options.revision))
    return 0


def _print_experts(options: argparse.Namespace) -> bool:
    """Print what the text of the configuration states; whether it states enough.

    Nothing is printed where the rest takes no time: then the report begins with the gain.
    """
    from moe_eval_plugin.models.checkpoint import resolve
    from moe_eval_plugin.models.inspection.report import described
    from moe_eval_plugin.models.inspection.stated import stated_model
    from moe_eval_plugin.models.inspection.text import render_experts
    from moe_eval_plugin.models.stated_experts import stated_experts

    stated = stated_experts(options.model, options.revision)
    if stated_model(options.model, options.revision) is not None:
        return False
    if stated is None or (options.revision is not None and is_folder(resolve(options.model))):
        return False
    named = {"model": options.model, "resolved": resolve(options.model)}
    print(render_experts({**named, **described(stated)}), flush=True)
    return True
