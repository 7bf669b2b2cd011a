"""Tasks for lmms-eval and lm-eval: YAML definitions, and the functions that they name.

This package is a plugin like any other: it registers its folders by ``moe_eval_task_folders`` and
``moe_eval_lm_eval_task_folders``. Each host reads a folder with all folders in it, so the folders
of the two are side by side.
"""

from __future__ import annotations

from pathlib import Path

from moe_eval_plugin.plugins import hookimpl

# Folder of the definitions for each host.
FOLDERS = {"lmms-eval": "lmms_eval", "lm-eval": "lm_eval"}


def tasks_path(host: str = "lmms-eval") -> Path:
    """Return the folder that holds the YAML files for a host, for its ``--include_path``."""
    return Path(__file__).resolve().parent / FOLDERS[host]


@hookimpl
def moe_eval_task_folders() -> list[Path]:
    """Return the folder that holds the YAML files for lmms-eval."""
    return [tasks_path("lmms-eval")]


@hookimpl
def moe_eval_lm_eval_task_folders() -> list[Path]:
    """Return the folder that holds the YAML files for lm-eval."""
    return [tasks_path("lm-eval")]
