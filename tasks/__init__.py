"""Tasks for lmms-eval: YAML definitions, and the functions that they name.

This package is a plugin like any other: it registers its folder by ``moe_eval_task_folders``.
"""

from __future__ import annotations

from pathlib import Path

from moe_eval_plugin.plugins import hookimpl


def tasks_path() -> Path:
    """Return the folder that holds the YAML files, for ``--include_path``."""
    return Path(__file__).resolve().parent


@hookimpl
def moe_eval_task_folders() -> list[Path]:
    """Return the folder that holds the YAML files."""
    return [tasks_path()]
