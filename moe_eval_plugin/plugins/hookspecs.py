"""The hooks that a plugin can implement, as typed signatures.

A plugin is a module or object. It marks functions with ``@hookimpl`` and gives them names from
this module. Its distribution names it in the entry-point group ``moe_eval_plugin``. Tasks,
families, policies, exporters and accelerators of this package use the same hooks.
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
    """Return the folders that hold your tasks for lmms-eval, as YAML files.

    lmms-eval asks for them each time it builds its index of tasks, so answer quickly and import
    nothing heavy. lmms-eval reads every YAML file in the folders, so keep tasks for lm-eval
    elsewhere. If two tasks have the same name, lmms-eval uses its own task, or else the one in the
    first folder. Example::

        from pathlib import Path

        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_task_folders():
            return [Path(__file__).parent / "tasks"]
    """


@hookspec
def moe_eval_lm_eval_task_folders() -> Iterable[Path]:  # type: ignore[empty-body]
    """Return the folders that hold your tasks for lm-eval, as YAML files.

    lm-eval asks for them each time it builds its index of tasks, so answer quickly and import
    nothing heavy. If two tasks have the same name, lm-eval uses the one that it reads last. It
    reads its own tasks first, then these folders, and the user's ``--include_path`` last.
    Example::

        from pathlib import Path

        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_lm_eval_task_folders():
            return [Path(__file__).parent / "lm_eval_tasks"]
    """


@hookspec
def moe_eval_register_families() -> Iterable[Family]:  # type: ignore[empty-body]
    """Return model families: where their configuration stores k, and how their router works.

    Each process asks once, when it first reads the configuration of a model. Answer quickly and
    import nothing heavy. A plugin cannot replace a family of this package or of another plugin: a
    model type that is registered twice is an error. Example::

        from moe_eval_plugin.plugins import Family, hookimpl

        @hookimpl
        def moe_eval_register_families():
            return [Family(model_type="my_moe", k_key="picks", renormalise="always")]
    """


@hookspec
def moe_eval_register_policies() -> Iterable[Policy]:  # type: ignore[empty-body]
    """Return policies: rules that drop some of the experts that the router chose for a token.

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
    """Return the numbers with which a policy stays within its target and loses the least.

    ``moe-eval tune`` calls this hook for a policy after it has measured the loss of each layer.
    Answer for your own policies, and return ``None`` for all others: two answers are an error.
    Each number may also be a tuple with one number for each MoE layer. The command measures your
    answer again, and ends with an error if the policy uses more experts than the target allows.

    The command also calls the hook before it reads the weights, to learn whether a plugin
    calibrates this policy. In this call the losses are made up, and ``model`` and ``prompts`` are
    empty. The call ends at the first ``measure``, or with any error. Example::

        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_calibrate_policy(calibration):
            if calibration.policy != "above":
                return None
            numbers = [n / 50 for n in range(1, 51)]
            measured = {number: calibration.measure([number]) for number in numbers}
            allowed = [n for n in numbers if measured[n].mean_k <= calibration.target_k]
            return [min(allowed, key=lambda number: measured[number].loss)]

    A method that needs more than losses can run the model on the prompts. These lines compute the
    logits of the answers, (rows, answer, vocabulary)::

        model = calibration.model
        for batch in calibration.prompts:
            with torch.no_grad():
                inputs = {name: value.to(model.device) if torch.is_tensor(value) else value
                          for name, value in batch.inputs.items()}
                logits = model(**inputs).logits[:, batch.n_prompt - 1:]
    """


@hookspec
def moe_eval_register_exporters() -> Iterable[Exporter]:  # type: ignore[empty-body]
    """Return file formats for ``moe-eval export``.

    Called when the command lists or uses formats. Import heavy packages inside the function of
    your exporter. A name that is registered twice is an error. Example::

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

    Called when a command looks up the data sheet of its device. A name that is registered twice
    is an error. Example::

        from moe_eval_plugin.plugins import Accelerator, hookimpl

        @hookimpl
        def moe_eval_register_accelerators():
            peaks = {"bfloat16": 400e12}
            return [Accelerator(("Example X1",), 2.0e12, peaks, "X1 data sheet")]
    """


@hookspec
def moe_eval_run_start(event: RunStart) -> None:
    """React to the start of a run, before the first question is asked and timed.

    The model is loaded and its k verified. Each process calls the hook once for each type of
    request: for generated answers, and for scored continuations. Change nothing in the event.
    Example::

        from moe_eval_plugin.plugins import hookimpl

        @hookimpl
        def moe_eval_run_start(event):
            print("requests:", event.n_requests, "to", event.provenance["pretrained"])
    """


@hookspec
def moe_eval_batch_end(event: BatchEnd) -> None:
    """React to a batch that has been answered, and to its times.

    Each process calls the hook after each of its batches. With ``moe_hf`` the clock of the run
    stands still while plugins work, so they lengthen the run but no measured time. With
    ``moe_vllm`` the clock continues, because vLLM continues to answer. Example, a gauge for
    Prometheus::

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
    """React to the end of a run, when all questions are answered and not yet scored.

    Each process calls the hook after the records of all processes were joined. Example, for
    Weights & Biases::

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
    """Return more rows for the results of tasks.

    Called after ``moe_eval_run_end``. A row whose name is taken, whose task is unknown, or whose
    value is infinite or not a number is an error of the plugin. The run then keeps no row of this
    plugin. Example::

        from moe_eval_plugin.plugins import Metric, hookimpl

        @hookimpl
        def moe_eval_extra_metrics(event):
            for task, record in event.records.items():
                rate = record.speed.samples_per_s
                yield Metric(task, "samples_per_hour", rate and 3600 * rate, higher_is_better=True)
    """
