"""Read results and samples files with the reader of the host that wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files.content import FILES, read_json
from moe_eval_plugin.results.files.lmms_eval.files import run_of
from moe_eval_plugin.results.files.lmms_eval.samples import samples_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moe_eval_plugin.results.run import Run, Sample, TaskRun

NEEDED_KEYS = ("results", "configs", "config")


def read_run(path: Path) -> Run:
    """Return the run of one results file; ``DataError`` for any other file."""
    content = read_json(path)
    missing = [key for key in NEEDED_KEYS if not isinstance(content.get(key), dict)]
    if missing:
        message = (
            f"{path} is not a results file of lmms-eval or lm-eval: it has no "
            f"{' and no '.join(missing)}. Pass {FILES}."
        )
        raise DataError(message)
    return run_of(path, content)


def read_samples(task: TaskRun) -> Iterator[Sample]:
    """Yield the samples of a task one by one; ``DataError`` names the line that is broken.

    A file that was cut off between two lines reads like a whole one: compare the number of its
    samples with ``TaskRun.n_samples``. Without a samples file there are none.
    """
    if task.samples is not None:
        yield from samples_in(task.samples)
