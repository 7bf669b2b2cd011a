"""Check names of models and tasks of lmms-eval within a fraction of a second, without torch.

Its table of models imports nothing heavy. Its tasks are the YAML files of some folders: their texts
are searched, not parsed, so quickly that nothing has to be kept from one run to the next. A name
that is in none of them is no task; of any other lmms-eval itself decides, when it has read them.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.plugins.manager import task_folders
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DECLARED = re.compile(r"^ *-? *(?:task|group|tag) *: *[\"']?([^\s\"'#\[]+)", re.MULTILINE)
PATTERN = re.compile(r"[*?\[]")
ALL_TASKS = "Tasks of this plugin: `moe-eval tasks`; all: `lmms-eval tasks list`."


def check_model(name: str) -> None:
    """Raise ``InvalidArgumentError`` for a model that lmms-eval does not have."""
    from lmms_eval.models import list_available_models

    known = list_available_models(include_aliases=True)
    if name not in known:
        message = (
            f"--model {name} is not known.{did_you_mean(name, known)} Use moe_hf "
            "(transformers) or moe_vllm; all of lmms-eval: `lmms-eval models`."
        )
        raise InvalidArgumentError(message)


def check_tasks(names: Iterable[str], include_path: str | None = None) -> None:
    """Raise ``InvalidArgumentError`` for a name that no definition of a task contains.

    Patterns are not checked.
    """
    wanted = [name for name in names if not PATTERN.search(name)]
    texts = "\n".join(_definitions(_folders(include_path)))
    declared = set(DECLARED.findall(texts))
    for name in wanted:
        is_there = name in declared or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", texts)
        if not is_there:
            raise InvalidArgumentError(unknown_task(name, sorted(declared)))


def declared_names() -> list[str]:
    """Return the names of all tasks, groups and tags in the files of lmms-eval and of plugins."""
    return sorted(set(DECLARED.findall("\n".join(_definitions(_folders(None))))))


def is_of_the_host(name: str) -> bool:
    """Whether lmms-eval itself may have a task of this name, which it prefers to another one."""
    text = "\n".join(_definitions(_folders_of_the_host()))
    return name in set(DECLARED.findall(text))


def unknown_task(name: str, known: Sequence[str]) -> str:
    """Return the message for a task that lmms-eval does not have."""
    return f"No task is called {name}.{did_you_mean(name, known)} {ALL_TASKS}"


def _folders(include_path: str | None) -> list[Path]:
    given = [Path(include_path)] if include_path else []
    return [*_folders_of_the_host(), *given, *task_folders()]


def _folders_of_the_host() -> list[Path]:
    spec = find_spec("lmms_eval")
    found = (spec.submodule_search_locations if spec else None) or ()
    return [Path(folder, "tasks") for folder in found]


def _definitions(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            yield path.read_text("utf-8", errors="replace")
