"""Find scores over questions that took part in choosing a setting, before they are published.

Such questions flatter what was chosen on them. The host's score counts them, so formats to publish
are refused, and others say so; the tables of a report leave them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.failures import IncompleteRunError, tasks_of
from moe_eval_plugin.results.files import read_samples
from moe_eval_plugin.results.samples import calibration_doc_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.results.run import Run, TaskRun

# Word for such a question in the list of --list-missing.
CHOSEN_ON = "calibration"


def raise_if_chosen_on(runs: Sequence[Run], task: str | None) -> None:
    """Raise ``IncompleteRunError`` if a score to publish counts calibration questions."""
    found = [(run, one, text) for run, one in tasks_of(runs, task) if (text := _text(one))]
    if not found:
        return
    lines = [f"{run.path}: {text}" for run, _, text in found]
    what = "Scores of searched schedules or policies count the questions they were chosen on:"
    advice = (
        "Export --format markdown or latex, which leave these questions out, or run the setting on "
        "other questions. Add --list-missing to list them all."
    )
    chosen_on = [sorted(_asked(one) or (), key=int) for _, one, _ in found]
    listed = [f"{CHOSEN_ON} {doc_id}" for doc_ids in chosen_on for doc_id in doc_ids]
    raise IncompleteRunError("\n".join(["\n  ".join([what, *lines]), advice]), listed)


def notes_on_chosen(runs: Sequence[Run], task: str | None) -> Iterator[str]:
    """Yield a note for each score that counts questions its setting was chosen on."""
    for run, one in tasks_of(runs, task):
        if text := _text(one):
            yield f"{run.path.name}: {text}. The score flatters this setting."


def _text(task: TaskRun) -> str:
    """Return how many questions of a task its setting was chosen on; nothing without any."""
    tuning, asked = task.setup.tuning, _asked(task)
    if tuning is None or asked == frozenset():
        return ""
    n = "some" if asked is None else f"{len(asked):,}"
    of = "" if task.n_samples is None else f" of {task.n_samples:,}"
    unknown = " (without samples it is not known which)" if asked is None else ""
    return f"{n}{of} questions of {task.task} took part in choosing {tuning.name}{unknown}"


def _asked(task: TaskRun) -> frozenset[str] | None:
    """Return the asked questions that its setting was chosen on; ``None`` is not known."""
    chosen_on = calibration_doc_ids([task.setup], task.task)
    if not chosen_on:
        return chosen_on
    if task.samples is None:
        return None
    try:
        asked = [sample.doc_id for sample in read_samples(task)]
    except DataError:
        return None
    return None if None in asked else chosen_on.intersection(map(str, asked))
