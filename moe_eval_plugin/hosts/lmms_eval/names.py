"""Check names of models and tasks of lmms-eval within a fraction of a second, without torch.

Its table of models imports nothing heavy, and the definitions of its tasks are searched as texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.shared import task_names
from moe_eval_plugin.hosts.shared.task_names import folders_of_package, missing_names
from moe_eval_plugin.plugins.manager import task_folders
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PACKAGE = "lmms_eval"
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
    missing, declared = missing_names(names, _folders(include_path))
    for name in missing:
        raise InvalidArgumentError(unknown_task(name, declared))


def declared_names() -> list[str]:
    """Return the names of all tasks, groups and tags in the files of lmms-eval and of plugins."""
    return task_names.declared_names(_folders(None))


def is_of_the_host(name: str) -> bool:
    """Whether lmms-eval itself may have a task of this name, which it prefers to another one."""
    return name in task_names.declared_names(folders_of_package(PACKAGE))


def unknown_task(name: str, known: Sequence[str]) -> str:
    """Return the message for a task that lmms-eval does not have."""
    others = task_names.declared_names([*folders_of_package("lm_eval"), *task_folders("lm-eval")])
    if name in others:
        return (
            f"{name} is a task of lm-eval, and not of lmms-eval. Add --host lm-eval to `moe-eval "
            "sweep` or `moe-eval routing`, or run `moe-eval lm-eval run`."
        )
    return f"No task is called {name}.{did_you_mean(name, known)} {ALL_TASKS}"


def _folders(include_path: str | None) -> list[Path]:
    given = [Path(include_path)] if include_path else []
    return [*folders_of_package(PACKAGE), *given, *task_folders()]
