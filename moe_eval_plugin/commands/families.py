"""``moe-eval families``: list the model families in the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.subcommand import add_verb

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Subcommands

DESCRIPTION = """\
List the known model families, and how well it was proven that their k can be changed.

With a NAME, show everything that is known about one family. Families of other installed plugins
are listed too. A model of an unlisted family may still work: its k is found by a general rule, and
the experts that its tokens use are observed as in any other model.
"""
EPILOG = """\
examples:
  moe-eval families
  moe-eval families qwen3_vl_moe
  moe-eval families --wide > families.txt
  moe-eval families --json
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs,
        "families",
        run,
        "list the known model families",
        (DESCRIPTION, EPILOG),
    )
    verb.add_argument(
        "name", nargs="?", metavar="NAME", help="a model type, for example qwen3_vl_moe"
    )
    verb.add_argument(
        "--wide", action="store_true", help="show all columns; the table is about 170 wide then"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Print all families, or the requested one."""
    from moe_eval_plugin.models.inspection import families_table

    if options.name is None:
        found = families_table.families()
        data: Any = [families_table.to_dict(family) for family in found]
        text = families_table.render_all(found, wide=options.wide)
    else:
        family = families_table.find(options.name)
        data, text = families_table.to_dict(family), families_table.render(family)
    print(json.dumps(data, indent=2) if options.json else text)
    return 0
