"""The plugin API: what a third party can add, as typed signatures.

A plugin is a module or object whose functions carry ``@hookimpl`` and one of these names. A
distribution announces it in the entry-point group ``moe_eval_plugin``::

    # my_package/moe_eval.py
    from pathlib import Path
    from moe_eval_plugin.hookspecs import hookimpl

    @hookimpl
    def moe_eval_task_folders():
        return [Path(__file__).parent / "tasks"]

    # pyproject.toml
    [project.entry-points.moe_eval_plugin]
    my_package = "my_package.moe_eval"

Our own tasks come in through the same hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PROJECT = "moe_eval"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def moe_eval_task_folders() -> Iterable[Path]:  # type: ignore[empty-body]
    """Name folders with lmms-eval task definitions (YAML), to be found by ``--tasks``.

    Called each time the host indexes its tasks, so it must be fast and import nothing heavy.
    On equal task names the host's own task stays, then the folder that is named first.
    """
