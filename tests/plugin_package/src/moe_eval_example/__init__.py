"""Example plugin: a task, a model family, a policy, a file format, and a row of results."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from moe_eval_plugin.plugins import (
    BatchEnd,
    Exported,
    Exporter,
    Family,
    Metric,
    Policy,
    PolicyCalibration,
    PolicyParameter,
    Run,
    RunEnd,
    hookimpl,
)

slowest_s: dict[str, float] = {}


@hookimpl
def moe_eval_task_folders() -> list[Path]:
    """Return the folder that holds the task for lmms-eval."""
    return [Path(__file__).parent / "tasks"]


@hookimpl
def moe_eval_lm_eval_task_folders() -> list[Path]:
    """Return the folder that holds the same task for lm-eval."""
    return [Path(__file__).parent / "lm_eval_tasks"]


@hookimpl
def moe_eval_register_families() -> list[Family]:
    """Return the family, which stores k under an unusual key."""
    return [
        Family(
            model_type="picky_moe",
            k_key="picks",
            num_experts_key="choices",
            scoring="softmax over all experts, then the k largest",
            renormalise="always",
        )
    ]


@hookimpl
def moe_eval_register_policies() -> list[Policy]:
    """Return the policy, which needs no more than a line."""
    return [
        Policy(
            name="above",
            summary="keep the experts whose weight is at least a number",
            parameters=(PolicyParameter("number", "the smallest weight to keep"),),
            keep=lambda choice, number: choice.weights >= number,
        )
    ]


@hookimpl
def moe_eval_calibrate_policy(calibration: PolicyCalibration) -> list[float] | None:
    """Return the smallest of a few numbers that keeps to the target; it loses least."""
    if calibration.policy != "above":
        return None
    numbers = [number / 50 for number in range(1, 50)]
    return [
        next(
            number
            for number in numbers
            if calibration.measure([number]).mean_k <= calibration.target_k
        )
    ]


@hookimpl
def moe_eval_register_exporters() -> list[Exporter]:
    """Return the format for ``moe-eval export``."""
    return [Exporter("shout", "SHOUT.txt, every score in a line of capitals", shout)]


def shout(runs: Sequence[Run], task: str | None) -> Exported:
    """Return the scores of the requested tasks as one file."""
    lines = [
        f"{one.task} {score.metric}: {score.value}\n".upper()
        for run in runs
        for one in run.tasks
        if task in (None, one.task)
        for score in one.scores
    ]
    return Exported({"SHOUT.txt": "".join(lines)}, notes=("was that loud enough?",))


@hookimpl
def moe_eval_run_start() -> None:
    """Forget the batches of an earlier run."""
    slowest_s.clear()


@hookimpl
def moe_eval_batch_end(event: BatchEnd) -> None:
    """Store the time of the slowest batch of each task."""
    task, wall_s = event.timing.task, event.timing.wall_s
    slowest_s[task] = max(slowest_s.get(task, 0.0), wall_s)


@hookimpl
def moe_eval_extra_metrics(event: RunEnd) -> Iterator[Metric]:
    """Yield a row for each task: the time of its slowest batch."""
    for task in event.records:
        yield Metric(task, "slowest_batch_s", slowest_s.get(task), higher_is_better=False)
