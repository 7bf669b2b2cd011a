"""The plugin API: what a third party can add, as typed signatures.

A plugin is a module or object whose functions carry ``@hookimpl`` and one of these names. A
distribution announces it in the entry-point group ``moe_eval_plugin``::

    # my_package/moe_eval.py
    from pathlib import Path
    from moe_eval_plugin.plugins.hookspecs import hookimpl

    @hookimpl
    def moe_eval_task_folders():
        return [Path(__file__).parent / "tasks"]

    # pyproject.toml
    [project.entry-points.moe_eval_plugin]
    my_package = "my_package.moe_eval"

Our own tasks, families, policies, exporters and accelerators come in through the same hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from moe_eval_plugin.plugins.accelerator import Accelerator
    from moe_eval_plugin.plugins.events import BatchEnd, RunEnd, RunStart
    from moe_eval_plugin.plugins.exporter import Exporter
    from moe_eval_plugin.plugins.family import Family
    from moe_eval_plugin.plugins.policy import Policy
    from moe_eval_plugin.results.record import Metric

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

        from moe_eval_plugin.plugins.family import Family
        from moe_eval_plugin.plugins.hookspecs import hookimpl

        @hookimpl
        def moe_eval_register_families():
            return [Family(model_type="my_moe", k_key="picks", renormalise="always")]
    """


@hookspec
def moe_eval_register_policies() -> Iterable[Policy]:  # type: ignore[empty-body]
    """Name policies for ``experts_policy``: rules that drop some of a token's chosen experts.

    Called when a run asks for a policy. A name that is registered twice is an error. Example::

        from moe_eval_plugin.plugins.hookspecs import hookimpl
        from moe_eval_plugin.override.policies import Policy

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

        from moe_eval_plugin.publish.exports.formats import Exported, Exporter
        from moe_eval_plugin.plugins.hookspecs import hookimpl

        def export(runs, task):
            return Exported({"tasks.txt": " ".join(one.task for run in runs for one in run.tasks)})

        @hookimpl
        def moe_eval_register_exporters():
            return [Exporter("task-list", "the names of the tasks", export)]
    """


@hookspec
def moe_eval_register_accelerators() -> Iterable[Accelerator]:  # type: ignore[empty-body]
    """Tell what devices can do at the most: their memory bandwidth and peak FLOP/s.

    Called when the hardware of a run is described. A name that is registered twice is an error.
    Example::

        from moe_eval_plugin.hardware.accelerators import Accelerator
        from moe_eval_plugin.plugins.hookspecs import hookimpl

        @hookimpl
        def moe_eval_register_accelerators():
            peaks = {"bfloat16": 400e12}
            return [Accelerator(("Example X1",), 2.0e12, peaks, "X1 data sheet")]
    """


@hookspec
def moe_eval_run_start(event: RunStart) -> None:
    """Learn that a run begins: the model is loaded and its k verified, nothing is timed yet.

    Called in each process, once for all requests of one kind. Nothing may be changed. A plugin that
    raises an error here, or in one of the following hooks, is not called again in this run; the
    results say so under ``provenance.plugin_failures``. Example::

        from moe_eval_plugin.plugins.hookspecs import hookimpl

        @hookimpl
        def moe_eval_run_start(event):
            print("asked:", event.n_requests, "of", event.provenance["pretrained"])
    """


@hookspec
def moe_eval_batch_end(event: BatchEnd) -> None:
    """Learn that a batch was answered, with its times.

    Called in each process, while the clock of the run stands still: the time that this takes is not
    measured, but it is spent. Example, a gauge for Prometheus::

        from moe_eval_plugin.plugins.hookspecs import hookimpl
        from prometheus_client import Gauge

        SPEED = Gauge("moe_eval_samples_per_s", "samples per second of the last batch", ["task"])

        @hookimpl
        def moe_eval_batch_end(event):
            timing = event.timing
            SPEED.labels(timing.task).set(timing.n_samples / timing.wall_s)
    """


@hookspec
def moe_eval_run_end(event: RunEnd) -> None:
    """Learn that all requests were answered, with the records of all tasks; no score is known yet.

    Called in each process, after the records of all were joined. Example, Weights & Biases::

        import wandb
        from moe_eval_plugin.plugins.hookspecs import hookimpl

        @hookimpl
        def moe_eval_run_end(event):
            if event.rank == 0:
                with wandb.init(project="moe") as run:
                    for task, record in event.records.items():
                        run.log({f"{task}/{name}": value for name, value in record.rows().items()})
    """


@hookspec
def moe_eval_extra_metrics(event: RunEnd) -> Iterable[Metric]:  # type: ignore[empty-body]
    """Add rows to the results of tasks, beside those of this package.

    Called after ``moe_eval_run_end``. A name that is taken is an error. Example::

        from moe_eval_plugin.plugins.hookspecs import hookimpl
        from moe_eval_plugin.results.record import Metric

        @hookimpl
        def moe_eval_extra_metrics(event):
            for task, record in event.records.items():
                rate = record.speed.samples_per_s
                yield Metric(task, "samples_per_hour", rate and 3600 * rate, higher_is_better=True)
    """
