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

Our own tasks, families, policies and exporters come in through the same hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from moe_eval_plugin.export import Exporter
    from moe_eval_plugin.family import Family
    from moe_eval_plugin.policies import Policy

PROJECT = "moe_eval"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def moe_eval_task_folders() -> Iterable[Path]:  # type: ignore[empty-body]
    """Name folders with lmms-eval task definitions (YAML), to be found by ``--tasks``.

    Called each time the host indexes its tasks, so it must be fast and import nothing heavy.
    On equal task names the host's own task stays, then the folder that is named first.
    """


@hookspec
def moe_eval_register_families() -> Iterable[Family]:  # type: ignore[empty-body]
    """Describe model families: where their configurations keep k, and what their routers do.

    Called once per process, when a configuration is first described, so it must be fast and import
    nothing heavy. A model type that is registered twice is an error: a plugin cannot replace a
    family of this package or of another one. Example::

        from moe_eval_plugin.family import Family
        from moe_eval_plugin.hookspecs import hookimpl

        @hookimpl
        def moe_eval_register_families():
            return [Family(model_type="my_moe", k_key="picks", renormalise="always")]
    """


@hookspec
def moe_eval_register_policies() -> Iterable[Policy]:  # type: ignore[empty-body]
    """Name policies for ``experts_policy``: rules that drop some of a token's chosen experts.

    Called when a run asks for a policy. A name that is registered twice is an error. Example::

        from moe_eval_plugin.hookspecs import hookimpl
        from moe_eval_plugin.policies import Policy

        @hookimpl
        def moe_eval_register_policies():
            return [
                Policy(
                    name="above",
                    summary="keep the experts whose weight is at least a number",
                    parameter="the smallest weight to keep",
                    keep=lambda weights, number: weights >= number,
                )
            ]
    """


@hookspec
def moe_eval_register_exporters() -> Iterable[Exporter]:  # type: ignore[empty-body]
    """Name exporters for ``moe-eval export``: file formats that a finished run is written in.

    Called when the command lists or uses the formats, so import what is heavy in the exporter's
    own function. A name that is registered twice is an error. Example::

        from moe_eval_plugin.export import Exported, Exporter
        from moe_eval_plugin.hookspecs import hookimpl

        def export(runs, task):
            return Exported({"tasks.txt": " ".join(one.task for run in runs for one in run.tasks)})

        @hookimpl
        def moe_eval_register_exporters():
            return [Exporter("task-list", "the names of the tasks", export)]
    """
