"""Read results and samples files with the reader of the host that wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files.content import FILES, read_json
from moe_eval_plugin.results.files.lm_eval import files as lm_eval_files
from moe_eval_plugin.results.files.lm_eval import samples as lm_eval_samples
from moe_eval_plugin.results.files.lmms_eval import files as lmms_eval_files
from moe_eval_plugin.results.files.lmms_eval import samples as lmms_eval_samples

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
    # Both hosts write a description of the environment in some releases, and only one its version.
    is_of_lm_eval = "lm_eval_version" in content and "lmms_eval_version" not in content
    read = lm_eval_files.run_of if is_of_lm_eval else lmms_eval_files.run_of
    return read(path, content)


def read_samples(task: TaskRun) -> Iterator[Sample]:
    """Yield the samples of a task one by one; ``DataError`` names the line that is broken.

    A file that was cut off between two lines reads like a whole one: compare the number of its
    samples with ``TaskRun.n_samples``. Without a samples file there are none.
    """
    if task.samples is None:
        return
    is_of_lm_eval = task.host == lm_eval_files.HOST
    read = lm_eval_samples.samples_of if is_of_lm_eval else lmms_eval_samples.samples_of
    yield from read(task)
