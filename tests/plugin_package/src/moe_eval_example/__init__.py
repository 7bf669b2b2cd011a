"""An example of a plugin: a task, a model family, a file format for results, and a row for them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from moe_eval_plugin.plugins.events import BatchEnd, RunEnd
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.plugins.family import Family
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.results.record import Metric
from moe_eval_plugin.results.run import Run

slowest_s: dict[str, float] = {}


@hookimpl
def moe_eval_task_folders() -> list[Path]:
    """Name the folder that holds our task."""
    return [Path(__file__).parent / "tasks"]


@hookimpl
def moe_eval_register_families() -> list[Family]:
    """Tell where our models keep k: under a name that nobody would guess."""
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
def moe_eval_register_exporters() -> list[Exporter]:
    """Offer a format of our own to ``moe-eval export``."""
    return [Exporter("shout", "SHOUT.txt, every score in a line of capitals", shout)]


def shout(runs: Sequence[Run], task: str | None) -> Exported:
    """Write the scores of the tasks that were asked for."""
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
    """Keep the time of the slowest batch of each task."""
    task, wall_s = event.timing.task, event.timing.wall_s
    slowest_s[task] = max(slowest_s.get(task, 0.0), wall_s)


@hookimpl
def moe_eval_extra_metrics(event: RunEnd) -> Iterator[Metric]:
    """Add a row: on a steady machine, it is hardly above the mean."""
    for task in event.records:
        yield Metric(task, "slowest_batch_s", slowest_s.get(task), higher_is_better=False)
