"""``moe-eval tasks-path``: print the folder with the task definitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.commands.tasks import add_host

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
Print the folder with the task definitions of this package for a host.

lmms-eval finds the tasks by itself when it runs moe_hf or moe_vllm, and so does `moe-eval lm-eval`
with any model. To use them with another command, pass this folder to it.
"""
EPILOG = """\
examples:
  lmms-eval --include_path "$(moe-eval tasks-path)" --model qwen3_vl \\
    --tasks easy_vqa
  lm-eval run --include_path "$(moe-eval tasks-path --host lm-eval)" \\
    --model hf-multimodal --tasks easy_vqa --apply_chat_template ...
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs,
        "tasks-path",
        run,
        "print the folder with the task definitions",
        (DESCRIPTION, EPILOG),
    )
    add_host(verb)
    verb.add_argument("--json", action="store_true", help="print JSON instead of the bare path")


def run(options: argparse.Namespace) -> int:
    """Print the folder."""
    from moe_eval_plugin.hosts.harness import default_host
    from moe_eval_plugin.tasks import tasks_path

    path = str(tasks_path(options.host or default_host()))
    print(json.dumps({"path": path}) if options.json else path)
    return 0
