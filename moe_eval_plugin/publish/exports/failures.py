"""Find answers that are messages about failed requests, before scores are published.

A score counts such an answer as wrong, and is then not the score of the model. Formats to publish
are refused; tables say how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.samples import failure_note, find_faults
from moe_eval_plugin.text import first_few

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.results.samples import AnswerFaults

# Word for a failed answer in the list of --list-missing.
FAILED = "failed"
Faults = dict[tuple[str, str], "AnswerFaults"]


def faults_of(runs: Sequence[Run], task: str | None) -> Faults:
    """Map path and task of each run to the faults in its answers, where its samples are known."""
    return {
        (str(run.path), one.task): found
        for run, one in tasks_of(runs, task)
        if (found := find_faults(one)) is not None
    }


def raise_if_failed(runs: Sequence[Run], task: str | None) -> None:
    """Raise ``IncompleteRunError`` if a score to publish rests on failed requests."""
    faults = faults_of(runs, task)
    failed = {key: found.failed for key, found in faults.items() if found.failed}
    if not failed:
        return
    lines = [
        f"{path}, {name}: {len(ids):,} (first: {first_few(ids)})"
        for (path, name), ids in failed.items()
    ]
    what = "Answers are messages of the host about failed requests, and no answers:"
    advice = (
        "Run again what failed. To see the scores all the same, use --format csv or markdown, "
        "which count the failures. Add --list-missing to list them all."
    )
    message = "\n".join(["\n  ".join([what, *lines]), advice])
    listed = [f"{FAILED} {question}" for ids in failed.values() for question in ids]
    raise IncompleteRunError(message, listed)


def notes_on(runs: Sequence[Run], task: str | None, faults: Faults) -> Iterator[str]:
    """Yield a note for each task with failed requests, or with empty answers of another model.

    Our own models answer or end the run, so that their empty answers are answers.
    """
    for run, one in tasks_of(runs, task):
        found = faults.get((str(run.path), one.task))
        if found and found.failed:
            yield f"{one.task}, {run.path.name}: {failure_note(len(found.failed), one.n_samples)}"
        if found and found.n_empty and not (one.record and one.record.experts):
            yield (
                f"{one.task}, {run.path.name}: {found.n_empty:,} answers are empty, which is also "
                f"what some models return after an error."
            )


def n_failed(faults: Mapping[tuple[str, str], AnswerFaults], run: str, task: str) -> int | None:
    """Return the failed requests of a task; ``None`` where its samples are not known."""
    found = faults.get((run, task))
    return None if found is None else len(found.failed)


def tasks_of(runs: Sequence[Run], task: str | None) -> Iterator[tuple[Run, TaskRun]]:
    """Yield each task of each run that is exported; a run that is given twice counts once."""
    distinct = {run.path.resolve(): run for run in runs}.values()
    yield from ((run, one) for run in distinct for one in run.tasks if task in (None, one.task))


class IncompleteRunError(DataError):
    """A run lacks answers that the export format needs.

    The message lists the first faults. The attribute ``faults`` has a line for each fault.
    """

    def __init__(self, message: str, faults: Sequence[str]) -> None:
        super().__init__(message)
        self.faults = tuple(faults)
