"""Find the results files of any host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files.read import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.run import Run

# lmms-eval begins names with the date, and lm-eval ends them with it; a submission that is written
# to the same folder has no date.
NAMES = re.compile(r"\d.*_results\.json|.*_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?\.json", re.DOTALL)


def is_results_file(path: Path) -> bool:
    """Whether a file has the name of a host's results file."""
    return NAMES.fullmatch(path.name) is not None


def results_files(folder: Path) -> list[Path]:
    """List the results files of all hosts in a folder and below, by path."""
    found = (path for path in folder.rglob("*.json") if is_results_file(path))
    return sorted(path for path in found if path.is_file())


def find_runs(path: Path) -> list[Run]:
    """Return the run of a results file, or the runs of all in a folder and below, by path.

    Raises ``DataError`` where there is none.
    """
    if path.is_file():
        return [read_run(path)]
    found = results_files(path)
    if not found:
        what = "holds no results files" if path.exists() else "does not exist"
        message = (
            f"{path} {what}. Pass a results file (*_results.json of lmms-eval, results_*.json of "
            "lm-eval), or the folder that you gave to `moe-eval sweep --output` or to the host's "
            "--output_path."
        )
        raise DataError(message)
    return [read_run(file) for file in found]


def find_run(path: Path) -> Run:
    """Return the only run at a path; ``DataError`` lists them if there are several."""
    runs = find_runs(path)
    if len(runs) > 1:
        files = "\n  ".join(str(run.path) for run in runs)
        message = f"{path} holds {len(runs)} runs, and one is needed. Pass one of:\n  {files}"
        raise DataError(message)
    return runs[0]


def find_results(folder: Path) -> Path:
    """Return the results file that was written to a folder; ``RuntimeError`` without one.

    Hosts ignore all errors while they write, so the file is read again, and each task must have
    its samples.
    """
    found = results_files(folder)
    if not found:
        message = "no results file was written; see the output of the evaluation"
        raise RuntimeError(message)
    for task in read_run(found[-1]).tasks:
        if task.samples is None:
            message = f"no samples of {task.task} were written; see the output of the evaluation"
            raise RuntimeError(message)
    return found[-1]
