"""The hooks that a plugin can implement, as typed signatures.

A plugin is a module or object whose functions are marked with ``@hookimpl`` and have one of these
names. Everything that it needs is imported from ``moe_eval_plugin.plugins``. Its distribution
names it in the entry-point group ``moe_eval_plugin``::

    # my_package/moe_eval.py
    from pathlib import Path
    from moe_eval_plugin.plugins import hookimpl

    @hookimpl
    def moe_eval_task_folders():
        return [Path(__file__).parent / "tasks"]

    # pyproject.toml
    [project.entry-points.moe_eval_plugin]
    my_package = "my_package.moe_eval"

The tasks, families, policies, exporters and accelerators of this package use the same hooks.
Hook wrappers (``@hookimpl(wrapper=True)`` or ``hookwrapper=True``) are refused when a plugin is
loaded: implementations are called one by one, so that one that fails does not stop the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from moe_eval_plugin.plugins.accelerator import Accelerator
    from moe_eval_plugin.plugins.events import BatchEnd, RunEnd, RunStart
    from moe_eval_plugin.plugins.exporter import Exporter
    from moe_eval_plugin.plugins.family import Family
    from moe_eval_plugin.plugins.policy import Policy
    from moe_eval_plugin.plugins.policy_calibration import PolicyCalibration
    from moe_eval_plugin.results.record import Metric

PROJECT = "moe_eval"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def moe_eval_task_folders() -> Iterable[Path]:  # type: ignore[empty-body]
    """Return folders with lmms-eval task definitions (YAML), for ``--tasks``.

    Called each time the host indexes its tasks, so it must be fast and import nothing heavy.
    On equal task names the host's own task is used, else that of the first folder. Example::

        from pathlib import Path
        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_task_folders():
            return [Path(__file__).parent / "tasks"]
    """


@hookspec
def moe_eval_lm_eval_task_folders() -> Iterable[Path]:  # type: ignore[empty-body]
    """Return folders with lm-eval task definitions (YAML), for ``--tasks``.

    Called each time the host indexes its tasks, so it must be fast and import nothing heavy.
    On equal task names lm-eval uses the definition that it reads last: its own tasks come before
    these folders, and the user's ``--include_path`` comes after them. Example::

        from pathlib import Path
        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_lm_eval_task_folders():
            return [Path(__file__).parent / "lm_eval_tasks"]
    """


@hookspec
def moe_eval_register_families() -> Iterable[Family]:  # type: ignore[empty-body]
    """Return model families: where their configurations store k, and what their routers do.

    Called once per process, when a configuration is first described, so it must be fast and import
    nothing heavy. A model type that is registered twice is an error: a plugin cannot replace a
    family of this package or of another one. Example::

        from moe_eval_plugin.plugins import Family, hookimpl

        @hookimpl
        def moe_eval_register_families():
            return [Family(model_type="my_moe", k_key="picks", renormalise="always")]
    """


@hookspec
def moe_eval_register_policies() -> Iterable[Policy]:  # type: ignore[empty-body]
    """Return policies for ``experts_policy``: rules that drop some of a token's chosen experts.

    Called when a run uses a policy. A name that is registered twice is an error. Example::

        from moe_eval_plugin.plugins import Policy, PolicyParameter, hookimpl

        @hookimpl
        def moe_eval_register_policies():
            return [
                Policy(
                    name="above",
                    summary="keep the experts whose weight is at least a number",
                    parameters=(PolicyParameter("number", "the smallest weight to keep"),),
                    keep=lambda choice, number: choice.weights >= number,
                )
            ]
    """


@hookspec
def moe_eval_calibrate_policy(
    calibration: PolicyCalibration,
) -> Sequence[float | tuple[float, ...]] | None:
    """Return parameters with which a policy keeps to a share of the experts, and loses little.

    Called by ``moe-eval tune`` for a policy, after the losses of each layer were measured. The
    plugin that registered the policy answers; it returns ``None`` for any other one. Two answers
    are an error. Each parameter is a number, or a tuple of numbers by MoE layer.

    It is called once before the weights are read as well, with made-up losses, to know whether the
    policy is calibrated: the first call of ``measure`` then ends it, and so does an error. There
    is no ``model`` then, and there are no ``prompts``. A method that needs more than losses runs
    the model on each batch of the prompts, for instance for the logits of the answers,
    (rows, answer, vocabulary)::

        with torch.no_grad():
            inputs = {name: value.to(model.device) if torch.is_tensor(value) else value
                      for name, value in batch.inputs.items()}
            logits = model(**inputs).logits[:, batch.n_prompt - 1:]

    Example::

        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_calibrate_policy(calibration):
            if calibration.policy != "above":
                return None
            numbers = [n / 50 for n in range(1, 51)]
            measured = {number: calibration.measure([number]) for number in numbers}
            allowed = [n for n in numbers if measured[n].mean_k <= calibration.target_k]
            return [min(allowed, key=lambda number: measured[number].loss)]
    """


@hookspec
def moe_eval_register_exporters() -> Iterable[Exporter]:  # type: ignore[empty-body]
    """Return exporters for ``moe-eval export``: file formats for finished runs.

    Called when the command lists or uses the formats, so import heavy packages inside the
    exporter's own function. A name that is registered twice is an error. Example::

        from moe_eval_plugin.plugins import Exported, Exporter, hookimpl

        def export(runs, task):
            return Exported({"tasks.txt": " ".join(one.task for run in runs for one in run.tasks)})

        @hookimpl
        def moe_eval_register_exporters():
            return [Exporter("task-list", "the names of the tasks", export)]
    """


@hookspec
def moe_eval_register_accelerators() -> Iterable[Accelerator]:  # type: ignore[empty-body]
    """Return devices with their memory bandwidth and peak FLOP/s.

    Called when the hardware of a run is described. A name that is registered twice is an error.
    Example::

        from moe_eval_plugin.plugins import Accelerator, hookimpl

        @hookimpl
        def moe_eval_register_accelerators():
            peaks = {"bfloat16": 400e12}
            return [Accelerator(("Example X1",), 2.0e12, peaks, "X1 data sheet")]
    """


@hookspec
def moe_eval_run_start(event: RunStart) -> None:
    """React to the start of a run: the model is loaded and its k verified, nothing is timed yet.

    Called in each process, once for all requests of one type. Nothing may be changed. A plugin that
    raises an error here, or in one of the following hooks, is not called again in this run; the
    results say so under ``provenance.plugin_failures``. Example::

        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_run_start(event):
            print("requests:", event.n_requests, "to", event.provenance["pretrained"])
    """


@hookspec
def moe_eval_batch_end(event: BatchEnd) -> None:
    """React to an answered batch and its times.

    Called in each process while the clock of the run is stopped: the time that a plugin takes is
    not in the results, but the run lasts longer by it. vLLM goes on answering meanwhile, so with
    ``moe_vllm`` the clock runs on. Example, a gauge for Prometheus::

        from moe_eval_plugin.plugins import hookimpl
        from prometheus_client import Gauge

        SPEED = Gauge("moe_eval_samples_per_s", "samples per second of the last batch", ["task"])

        @hookimpl
        def moe_eval_batch_end(event):
            timing = event.timing
            SPEED.labels(timing.task).set(timing.n_samples / timing.wall_s)
    """


@hookspec
def moe_eval_run_end(event: RunEnd) -> None:
    """React to the end of a run, with the records of all tasks; scores are not known yet.

    Called in each process, after the records of all processes were joined. Example, Weights &
    Biases::

        import wandb
        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_run_end(event):
            if event.rank == 0:
                with wandb.init(project="moe") as run:
                    for task, record in event.records.items():
                        run.log({f"{task}/{name}": value for name, value in record.rows().items()})
    """


@hookspec
def moe_eval_extra_metrics(event: RunEnd) -> Iterable[Metric]:  # type: ignore[empty-body]
    """Return further rows for the results of tasks.

    Called after ``moe_eval_run_end``. A name that is taken is an error. Example::

        from moe_eval_plugin.plugins import Metric, hookimpl

        @hookimpl
        def moe_eval_extra_metrics(event):
            for task, record in event.records.items():
                rate = record.speed.samples_per_s
                yield Metric(task, "samples_per_hour", rate and 3600 * rate, higher_is_better=True)
    """
