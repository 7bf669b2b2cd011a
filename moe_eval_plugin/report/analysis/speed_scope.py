"""What the speeds of a report are of: the model alone, or all that it takes to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.series import FinishedTask

MODEL_ALONE = "model alone"
INPUTS_TOO = "inputs and model"
AXIS = "samples per second"


def speed_of(run: FinishedTask) -> str | None:
    """Say what a run's speeds are of; ``None`` where they were not measured."""
    if run.samples_per_s is None:
        return None
    return MODEL_ALONE if run.setup.inputs else INPUTS_TOO


def axis_title(task: Sequence[SeriesStatistics]) -> str:
    """Name the axis of speed by what all speeds of the task are of."""
    found = _kinds(task)
    return f"{AXIS}, {found.pop()}" if len(found) == 1 else AXIS


def speed_caption(task: Sequence[SeriesStatistics]) -> str:
    """Say in half a sentence what a question per second is, for the caption of a chart."""
    found = _kinds(task)
    if found == {MODEL_ALONE}:
        return "of the model alone, without preparing images and questions"
    if found == {INPUTS_TOO}:
        return "images and preprocessing included"
    return "with or without preparing images and questions, as is said of each model above"


def sentences_on_speed(numbers: SeriesStatistics) -> Iterator[str]:
    """Say what the speeds of a series are of, and what must not be read into them."""
    found = _kinds([numbers])
    if MODEL_ALONE in found:
        yield (
            "The speeds are those of the model alone: images and questions were prepared "
            f"beforehand{_seconds(numbers)}. No rate and no wall time counts that; times to the "
            "first token and of whole requests do. A whole benchmark gains less from a smaller k "
            "than these speeds say."
        )
    if INPUTS_TOO in found:
        yield (
            "The speeds are those of the whole benchmark: reading images and preprocessing count, "
            "and k changes neither."
        )


def _kinds(task: Sequence[SeriesStatistics]) -> set[str]:
    runs = [run for one in task for point in one.series.points for run in point.runs]
    return {kind for run in runs if (kind := speed_of(run)) is not None}


def _seconds(numbers: SeriesStatistics) -> str:
    """Say how long it took to prepare the inputs, where a run tells."""
    runs = [run for point in numbers.series.points for run in point.runs]
    task = numbers.series.task
    known = [run.setup.encode_s.get(task) for run in runs]
    found = [seconds for seconds in known if seconds]
    return f", which took {max(found):,.1f} s" if found else ""
