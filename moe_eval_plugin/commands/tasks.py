"""``moe-eval tasks``: list the tasks of this package, and those of a host."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.text import fit, wrap

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.tasks.listing import ListedTask

DESCRIPTION = """\
List the tasks of this package and of installed plugins: their questions, their main score, and
where their data are; all scores are in --json. Any task of the host can be used too; --all lists
their names.
"""
EPILOG = """\
examples:
  moe-eval tasks
  moe-eval tasks --all | grep vqa
  moe-eval tasks --host lm-eval --all | grep mmlu
  moe-eval tasks --json
"""
HOSTS = ("lmms-eval", "lm-eval")
STATES = {True: "ready", False: "missing", None: "download"}
MEANING = (
    "ready: the data are on this machine. download: they are fetched when first asked for. Any "
    "task of {host} works too: `moe-eval tasks{option} --all`."
)


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    summary = "list the tasks, their scores and their data"
    verb = add_verb(verbs, "tasks", run, summary, (DESCRIPTION, EPILOG))
    verb.add_argument(
        "--all", action="store_true", help="print the names of all tasks, those of the host too"
    )
    add_host(verb)
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_host(verb: argparse.ArgumentParser) -> None:
    """Add the option that names the host whose tasks are meant."""
    verb.add_argument(
        "--host",
        choices=HOSTS,
        help="the harness that runs the tasks (default: lmms-eval where it is installed)",
    )


def run(options: argparse.Namespace) -> int:
    """Print the tasks; neither torch nor a host is imported."""
    from moe_eval_plugin.hosts.harness import default_host, installed_harness
    from moe_eval_plugin.tasks.listing import list_tasks

    host = options.host or default_host()
    tasks = list_tasks(host)
    names = installed_harness(host).declared_tasks() if options.all else None
    if options.json:
        content = {"tasks": [asdict(task) for task in tasks], "all": names}
        print(json.dumps(content, indent=2))
    else:
        print(_render(tasks, host) if names is None else "\n".join(names))
    return 0


def _render(tasks: Sequence[ListedTask], host: str) -> str:
    rows = [
        (
            task.name,
            f"{task.n_questions:,}" if task.n_questions else "",
            task.scores[0] if task.scores else "",
            "" if task.members else STATES[task.is_there],
            task.data,
        )
        for task in tasks
    ]
    header = ("task", "questions", "score", "data", "from")
    option = "" if host == HOSTS[0] else f" --host {host}"
    meaning = MEANING.format(host=host, option=option)
    return "\n".join([*fit([header, *rows], "lrl"), "", *wrap(meaning)])
