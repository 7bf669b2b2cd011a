"""The files that hosts write, read as finished runs and samples, whatever the host."""

from moe_eval_plugin.results.files.failures import failure_in
from moe_eval_plugin.results.files.find import (
    find_results,
    find_run,
    find_runs,
    is_results_file,
    results_files,
)
from moe_eval_plugin.results.files.lines import read_lines
from moe_eval_plugin.results.files.read import read_run, read_samples

__all__ = [
    "failure_in",
    "find_results",
    "find_run",
    "find_runs",
    "is_results_file",
    "read_lines",
    "read_run",
    "read_samples",
    "results_files",
]
