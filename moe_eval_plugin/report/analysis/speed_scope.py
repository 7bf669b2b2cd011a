"""Whether the throughput of a run includes the preparation of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.series import FinishedTask

MODEL_ALONE = "model alone"
INPUTS_TOO = "inputs and model"
AXIS = "questions per second"


def speed_of(run: FinishedTask) -> str | None:
    """Return what the speeds of a run cover; ``None`` where they were not measured."""
    if run.samples_per_s is None:
        return None
    return MODEL_ALONE if run.setup.inputs else INPUTS_TOO


def axis_title(task: Sequence[SeriesStatistics]) -> str:
    """Return the title of the axis of speed, with what all speeds of the task cover."""
    found = _scopes(task)
    return f"{AXIS}, {found.pop()}" if len(found) == 1 else AXIS


def speed_caption(task: Sequence[SeriesStatistics]) -> str:
    """Return half a sentence on what questions per second cover, for the caption of a chart."""
    found = _scopes(task)
    if found == {MODEL_ALONE}:
        return "of the model alone, without preparing images and questions"
    if found == {INPUTS_TOO}:
        return "images and preprocessing included"
    return "with or without preparing images and questions, as stated for each model above"


def sentences_on_speed(numbers: SeriesStatistics) -> Iterator[str]:
    """Yield what the speeds of a series cover, and what must not be concluded from them."""
    found = _scopes([numbers])
    if MODEL_ALONE in found:
        yield (
            "The speeds are those of the model alone: images and questions were prepared "
            f"beforehand{_seconds(numbers)}. Throughput leaves out this preparation; time to first "
            "token and request latency include it. An end-to-end run, which prepares images too, "
            "speeds up less."
        )
    if INPUTS_TOO in found:
        yield (
            "The speeds are those of an end-to-end run: reading images and preprocessing count, "
            "and k changes neither."
        )


def _scopes(task: Sequence[SeriesStatistics]) -> set[str]:
    runs = [run for one in task for point in one.series.points for run in point.runs]
    return {scope for run in runs if (scope := speed_of(run)) is not None}


def _seconds(numbers: SeriesStatistics) -> str:
    """Return how long it took to prepare the inputs, where this is known."""
    runs = [run for point in numbers.series.points for run in point.runs]
    task = numbers.series.task
    known = [run.setup.encode_s.get(task) for run in runs]
    found = [seconds for seconds in known if seconds]
    return f", which took {max(found):,.1f} s" if found else ""
