"""What identifies the definition of a host's task, whichever host it is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.files import files_digest, short_digest

if TYPE_CHECKING:
    from collections.abc import Mapping


def task_settings(
    name: str,
    task: Any,  # noqa: ANN401  (a task of any host)
    config: Mapping[str, Any],
    n_questions: int,
) -> dict[str, Any]:
    """Return what the numbers of a task depend on, by name: its definition, and its questions.

    ``config`` are the settings of its definition.
    """
    return {
        f"task {name}: version": str(task.VERSION),
        f"task {name}: definition": definition_digest(config),
        f"task {name}: questions": n_questions,
        f"task {name}: code": code_digest(task.config),
    }


def definition_digest(config: Mapping[str, Any]) -> str:
    """Return a digest of the settings of a task, without the addresses of functions."""
    return short_digest({name: _stable(value) for name, value in config.items()})


def code_digest(config: object) -> str | None:
    """Return a digest of the Python files beside the functions that a definition names."""
    functions = [getattr(one, "func", one) for one in vars(config).values() if callable(one)]
    files = {inspect.getsourcefile(one) for one in functions if inspect.isfunction(one)}
    folders = sorted({Path(file).parent for file in files if file})
    return short_digest([files_digest(one, "*.py") for one in folders]) if folders else None


def _stable(value: object) -> str:
    """Write a setting of a task without the address of a function."""
    named = getattr(value, "__qualname__", None)
    return f"{getattr(value, '__module__', '')}.{named}" if named else _without_address(value)


def _without_address(value: object) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
