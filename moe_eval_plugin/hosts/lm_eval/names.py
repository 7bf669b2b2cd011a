"""Check names of models and tasks of lm-eval within a fraction of a second, without torch.

Its table of models imports nothing heavy, and the definitions of its tasks are searched as texts.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.registration import MODELS
from moe_eval_plugin.hosts.shared import task_names
from moe_eval_plugin.hosts.shared.task_names import folders_of_package, missing_names
from moe_eval_plugin.plugins.manager import task_folders
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HOST, PACKAGE = "lm-eval", "lm_eval"
# Releases after 0.4.13 read models of other packages from these.
MODEL_ENTRY_POINTS = "lm_eval.models"
ALL_TASKS = "All: `moe-eval lm-eval ls tasks`."


def check_model(name: str) -> None:
    """Raise ``InvalidArgumentError`` for a model that lm-eval does not have."""
    from lm_eval.models import MODEL_MAPPING

    known = [*MODELS, *MODEL_MAPPING]
    if name not in known and not entry_points(group=MODEL_ENTRY_POINTS, name=name):
        message = (
            f"--model {name} is not known.{did_you_mean(name, known)} Use moe_hf "
            "(transformers) or moe_vllm, and with images moe_hf-multimodal or moe_vllm-vlm; all of "
            "lm-eval: `moe-eval lm-eval run --help`."
        )
        raise InvalidArgumentError(message)


def check_tasks(names: Iterable[str], include_path: str | None = None) -> None:
    """Raise ``InvalidArgumentError`` for a name that no definition of a task contains.

    Patterns and files are not checked.
    """
    wanted = [name for name in names if not Path(name).exists()]
    missing, declared = missing_names(wanted, _folders(include_path))
    for name in missing:
        raise InvalidArgumentError(unknown_task(name, declared))


def declared_names() -> list[str]:
    """Return the names of all tasks, groups and tags in the files of lm-eval and of plugins."""
    return task_names.declared_names(_folders(None))


def is_included(name: str, include_path: str | None) -> bool:
    """Whether a folder of the user declares a task of this name, which lm-eval prefers."""
    return include_path is not None and name in task_names.declared_names([Path(include_path)])


def unknown_task(name: str, known: Sequence[str]) -> str:
    """Return the message for a task that lm-eval does not have."""
    return f"No task is called {name}.{did_you_mean(name, known)} {ALL_TASKS}"


def _folders(include_path: str | None) -> list[Path]:
    given = [Path(include_path)] if include_path else []
    return [*folders_of_package(PACKAGE), *task_folders(HOST), *given]
