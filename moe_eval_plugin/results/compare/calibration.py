"""Leave out the questions that took part in choosing a setting, before two runs are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.samples import calibration_doc_ids, read_task
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.results.samples import AnsweredTask
    from moe_eval_plugin.results.setup import Setup


@dataclass(frozen=True)
class Kept:
    """One task of two runs without calibration questions."""

    a: AnsweredTask
    b: AnsweredTask
    notes: tuple[str, ...]
    """How many questions are left out; empty where none is."""


def without_calibration(
    a: tuple[Run, TaskRun], b: tuple[Run, TaskRun], setups: Sequence[Setup] = ()
) -> Kept:
    """Return one task of two runs without the questions that took part in choosing a setting.

    ``setups`` are those of further runs, whose calibration questions are left out too. Raises
    ``DataError`` where it is not known which they are, and where no other question is left.
    """
    name = a[1].task
    known = [*setups, a[1].setup, b[1].setup]
    doc_ids = calibration_doc_ids(known, name)
    names = " and ".join(dict.fromkeys(one.tuning.name for one in known if one.tuning))
    kept = [_kept(run, task, doc_ids, names) for run, task in (a, b)]
    n = max(one.n_left_out for one in kept)
    note = f"{counted(n, 'question')} took part in choosing {names}, and are left out."
    return Kept(kept[0], kept[1], (note,) if n else ())


def _kept(run: Run, task: TaskRun, doc_ids: frozenset[str], names: str) -> AnsweredTask:
    found = read_task(run, task).without(doc_ids)
    if found is None or not found.questions:
        why = "their numbers (doc_id) are missing" if found is None else "no other is left"
        message = (
            f"Questions of {task.task} in {run.path} took part in choosing {names}, so they cannot "
            f"judge it, and {why}. Run on other questions, with --log_samples."
        )
        raise DataError(message)
    return found
