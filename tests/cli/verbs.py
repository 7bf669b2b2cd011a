"""The verbs of the command, each as the words of its call."""

from __future__ import annotations

from moe_eval_plugin.cli import COMMANDS

VERBS: list[tuple[str, ...]] = [
    *(
        (command.__name__.rpartition(".")[2].replace("_", "-"),)
        for group in COMMANDS.values()
        for command in group
    ),
    ("convert", "flame-moe"),
    ("data", "check"),
    ("schedule", "show"),
    ("schedule", "export"),
]
