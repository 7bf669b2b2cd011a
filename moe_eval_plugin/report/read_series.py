"""Read finished runs for a report, and group them: series of one task and model, by k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.report.analysis.series_names import (
    CACHED,
    IMAGES,
    INPUTS,
    QUESTIONS,
    SeriesKey,
    series_ids,
    series_name,
)
from moe_eval_plugin.report.points import calibration_questions, grouped, left_out, make_points
from moe_eval_plugin.report.series import FinishedTask, Series, TimedSetting
from moe_eval_plugin.results.files import find_runs, read_run
from moe_eval_plugin.results.rows import PROPORTION
from moe_eval_plugin.results.samples import read_task
from moe_eval_plugin.results.score_facts import collect
from moe_eval_plugin.results.timing.of_run import find_timed_run
from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.results.samples import AnsweredTask
    from moe_eval_plugin.results.score_facts import ScoreFacts
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.manifest import Manifest


@dataclass(frozen=True)
class FoundRun:
    """A results file, and what was timed in the sweep that it belongs to."""

    run: Run
    """The file."""
    setting: str | None = None
    """Name of its setting in the sweep; ``None`` for a run of no sweep."""
    passes: tuple[TimedPass, ...] = ()
    """The timed passes of the sweep."""

    def timed(self, task: str) -> TimedSetting | None:
        """Return the setting in the timed passes of a task; ``None`` where it is in none."""
        own = [one for one in self.passes if one.task == task and self.setting in one.settings]
        return TimedSetting(self.setting, tuple(own)) if self.setting and own else None


def read_series(
    paths: Sequence[Path],
    task: str | None = None,
    metric: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> list[Series]:
    """Return the series of all runs at these paths, by task, model and k.

    ``metric`` is the score to show; without it each task shows the one that it is compared by.
    ``labels`` are the user's names of series, by the letter that each has without them.
    Raises ``DataError`` where there are no runs or no scores, and ``InvalidArgumentError`` where
    the score to show is not clear.
    """
    found = [one for path in paths for one in _runs_at(path)]
    # A file that is given twice counts once, as part of its sweep.
    found.sort(key=lambda one: one.setting is not None)
    runs = {one.run.path.resolve(): one for one in found}
    finished = list(_finished(list(runs.values()), task, metric))
    if not finished:
        raise DataError(_nothing_to_show([one.run for one in runs.values()], task, metric))
    groups = grouped(finished, _series_key)
    left = calibration_questions(finished)
    keys = list(groups)
    ids = series_ids(keys, labels or {})
    hosts: dict[str, list[str]] = {}
    for one in finished:
        hosts.setdefault(one.task.task, []).append(one.run.host)
    points = {key: make_points(members, left[key.task]) for key, members in groups.items()}
    return [
        Series(
            task=key.task,
            metric=key.metric,
            name=series_name(key, keys),
            points=own,
            id=ids[key],
            label=(labels or {}).get(ids[key], ""),
            other_hosts=tuple(sorted({*hosts[key.task]} - {own[0].first.run.host})),
            left_out=left_out(own, left[key.task], finished),
        )
        for key, own in points.items()
    ]


def _nothing_to_show(runs: Sequence[Run], task: str | None, metric: str | None) -> str:
    """Return that no run has the score to show, and which scores there are."""
    # Measured values have a unit: none of them is an accuracy.
    known = sorted({one.metric for one in collect(runs, task) if one.unit in (None, PROPORTION)})
    of_task = "" if task is None else f" of {task}"
    if metric is None:
        return f"The runs have no score{of_task} to show. Pass other runs."
    hint = did_you_mean(metric, known)
    return (
        f"The runs have no score {metric}{of_task}.{hint} Their scores: {', '.join(known)}. Name "
        "one of them with --metric."
    )


def sweep_at(path: Path) -> Manifest | None:
    """Return the manifest of a folder, where it is that of a sweep."""
    return load_manifest(path) if path.is_dir() else None


def _runs_at(path: Path) -> list[FoundRun]:
    """Return the runs of a folder; of a sweep only those that its manifest lists as done.

    The folder may still hold files of settings that were changed since.
    """
    sweep = sweep_at(path)
    if sweep is None:
        return [_of_its_sweep(run) for run in find_runs(path)]
    done = {name: sweep.results_path(name) for name in sweep.entries}
    passes = tuple(read_timed_passes(path))
    runs = [
        FoundRun(read_run(file), name, passes) for name, file in done.items() if file is not None
    ]
    if not runs:
        message = f"No setting of the sweep in {path} is done yet. Continue the sweep first."
        raise DataError(message)
    return runs


def _of_its_sweep(run: Run) -> FoundRun:
    """Return a run with the timed passes of the sweep that its file is part of, if there are any.

    The folder of a single setting may be given.
    """
    timed = find_timed_run(run.path)
    return FoundRun(run, timed.point, timed.passes) if timed else FoundRun(run)


def _finished(
    found: Sequence[FoundRun], task: str | None, metric: str | None
) -> Iterator[FinishedTask]:
    runs = [one.run for one in found]
    facts = {(one.run, one.task, one.metric): one for one in collect(runs, task)}
    for run, origin in zip(runs, found, strict=True):
        for one in run.tasks:
            if task in (None, one.task):
                answered = read_task(run, one) if one.samples else None
                name = metric or _shown_metric(run, one, answered, list(facts.values()))
                shown = facts.get((str(run.path), one.task, name))
                if shown is not None:
                    yield FinishedTask(run, one, shown, answered, origin.timed(one.task))


def _shown_metric(
    run: Run, task: TaskRun, answered: AnsweredTask | None, facts: Iterable[ScoreFacts]
) -> str:
    """Return the score that a task is compared by."""
    own = [one for one in facts if (one.run, one.task) == (str(run.path), task.task)]
    main = next((one.metric for one in own if one.is_main), None)
    found = main or (answered.main_metric if answered else None)
    if found is None:
        names = [one.metric for one in own if one.unit in (None, "proportion")]
        message = (
            f"Which score of {task.task} to show in {run.path} is not clear. Name one with "
            f"--metric: {', '.join(names) or 'it has none'}."
        )
        raise InvalidArgumentError(message)
    return found


def _series_key(one: FinishedTask) -> SeriesKey:
    facts, words = one.facts, _distinctions(one)
    return SeriesKey(facts.task, facts.metric, facts.pretrained, tuple(words.items()))


def _distinctions(one: FinishedTask) -> dict[str, str]:
    """Return what else keeps two runs of a model from being averaged; empty where not known."""
    setup = one.setup
    machine = (setup.machine.name if setup.machine else None) or setup.device
    values = {
        "{}": one.facts.backend,
        "run by {}": one.run.host,
        "revision {}": one.facts.model_revision,
        QUESTIONS: one.facts.n,
        "on {}": machine,
        "in {}": setup.dtype,
        "batch size {}": setup.batch_size,
        "{} processes": setup.n_ranks,
        "experts by {}": setup.experts_implementation,
        # Such speeds are of the model alone, and cannot be compared with others.
        # Neither is a speed of some of the questions.
        CACHED: one.facts.n_answers_from_cache,
        INPUTS: "beforehand" if setup.inputs else None,
        IMAGES: "shared" if one.is_shared and one.timed is None else None,
    }
    return {word: "" if value is None else word.format(value) for word, value in values.items()}
