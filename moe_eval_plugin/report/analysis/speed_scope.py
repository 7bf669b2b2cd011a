"""What the speeds of a setting cover: timed requests, the model alone, or a whole task."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.series import FinishedTask

TIMED = "timed requests"
TASK = "task throughput"
MODEL_ALONE = "model alone"
INPUTS_TOO = "inputs and model"
AXIS = "questions per second"
CAPTIONS = {
    TIMED: "of requests in the timed pass, with the preparation of inputs",
    TASK: "of the whole task, whose questions shared images or contexts",
    MODEL_ALONE: "of the model alone, without preparing images and questions",
    INPUTS_TOO: "preparing inputs included",
}


def speed_of(one: PointStatistics) -> str | None:
    """Return what the speeds of a setting cover; ``None`` where they were not measured."""
    if one.samples_per_s is None:
        return None
    return TIMED if one.batch_size is not None else _speed_of_run(one.point.first)


def axis_title(task: Sequence[SeriesStatistics]) -> str:
    """Return the title of the axis of speed, with what all speeds of the task cover."""
    found = _scopes(task)
    if found == {TIMED}:
        sizes = {one.batch_size for series in task for one in series.points}
        return f"{AXIS} at batch size {sizes.pop()}" if len(sizes) == 1 else AXIS
    return f"{AXIS}, {found.pop()}" if len(found) == 1 else AXIS


def at_batch_size(numbers: SeriesStatistics) -> str:
    """Return the batch size of the speeds of a series, to end a sentence with; or no text."""
    size = numbers.points[0].batch_size
    return "" if size is None else f" at batch size {size}"


def speed_caption(task: Sequence[SeriesStatistics]) -> str:
    """Return half a sentence on what questions per second cover, for the caption of a chart."""
    found = _scopes(task)
    if len(found) == 1:
        return CAPTIONS[found.pop()]
    return "with or without preparing images and questions, as stated for each model above"


def sentence_on_rates(series: Sequence[SeriesStatistics]) -> str:
    """Return what questions per second cover, as a sentence; empty where none were measured."""
    found = _scopes(series)
    if not found:
        return ""
    if len(found) == 1:
        return f"Rates are questions per second, {CAPTIONS[found.pop()]}."
    each = [
        f"{one.series.name}, {one.series.task}: {speed_caption([one])}"
        for one in series
        if _scopes([one])
    ]
    return f"Rates are questions per second. {'; '.join(each)}."


def sentences_on_speed(numbers: SeriesStatistics) -> Iterator[str]:
    """Yield what the speeds of a series cover, and what must not be concluded from them."""
    found = _scopes([numbers])
    if TIMED in found:
        yield (
            "A timed request includes reading and encoding its images and text. All numbers also "
            "has the speed-up of the model alone."
        )
    if TASK in found:
        yield (
            "The rates are task throughput: questions shared images or the beginning of their "
            "prompts. They are not speeds of single requests, and no speed-up is computed from "
            "them. The timed pass of `moe-eval sweep` measures one."
        )
    if MODEL_ALONE in found:
        yield (
            "The speeds are those of the model alone: images and questions were prepared "
            f"beforehand{_seconds(numbers)}. Throughput leaves out this preparation; time to first "
            "token and request latency include it. An end-to-end run, which prepares images too, "
            "speeds up less."
        )
    if INPUTS_TOO in found:
        yield (
            "The speeds are those of an end-to-end run. They include reading and preparing inputs, "
            "which k does not change."
        )
    if any(_is_timed_once(one) for one in numbers.points):
        yield (
            "Each setting was timed once, one after another. Anything that slowed the machine in "
            "the meantime looks like an effect of k, so these speed-ups support no finding."
        )


def _is_timed_once(one: PointStatistics) -> bool:
    ratio = one.speed_up
    return not one.point.is_baseline and ratio is not None and ratio.interval is None


def _speed_of_run(run: FinishedTask) -> str:
    if run.is_shared:
        return TASK
    return MODEL_ALONE if run.setup.inputs else INPUTS_TOO


def _scopes(task: Sequence[SeriesStatistics]) -> set[str]:
    points = [one for numbers in task for one in numbers.points]
    return {scope for one in points if (scope := speed_of(one)) is not None}


def _seconds(numbers: SeriesStatistics) -> str:
    """Return how long it took to prepare the inputs, where this is known."""
    runs = [run for point in numbers.series.points for run in point.runs]
    task = numbers.series.task
    known = [run.setup.encode_s.get(task) for run in runs]
    found = [seconds for seconds in known if seconds]
    return f", which took {max(found):,.1f} s" if found else ""
