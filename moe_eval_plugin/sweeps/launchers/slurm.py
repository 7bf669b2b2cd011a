"""Run the points of a sweep as jobs of Slurm, with submitit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.sweeps.launchers.launcher import (
    Outcome,
    attempt,
    retry_once,
    with_numbers,
)
from moe_eval_plugin.sweeps.workers.failures import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.sweeps.launchers.launcher import Worker
    from moe_eval_plugin.sweeps.plan import SweepPoint

LOGS = "slurm"
# submitit asks Slurm itself far less often; between these looks it reads a file.
SECONDS_BETWEEN_LOOKS = 1


class SlurmLauncher:
    """Runs each point as a job that reserves its GPUs.

    ``options`` are parameters of submitit's ``AutoExecutor``: ``slurm_partition``,
    ``timeout_min``, ``mem_gb`` and so on. ``cluster=local`` runs the jobs on this machine.
    ``folder`` must be visible on all machines.
    """

    def __init__(self, gpus_per_point: float, folder: Path, options: Mapping[str, str]) -> None:
        self._gpus_per_point = int(gpus_per_point)
        self._folder = folder / LOGS
        self._options = with_numbers(options)

    def run(
        self, points: Sequence[SweepPoint], worker: Worker, begin: Callable[[SweepPoint], None]
    ) -> Iterator[Outcome]:
        """Submit all points; Slurm schedules them."""
        import submitit

        options = dict(self._options)
        executor = submitit.AutoExecutor(self._folder, cluster=options.pop("cluster", None))
        executor.update_parameters(gpus_per_node=self._gpus_per_point, **options)

        def submit(point: SweepPoint) -> Any:  # noqa: ANN401  (submitit's job)
            begin(point)
            return executor.submit(attempt, point, worker)

        yield from retry_once(points, submit, _next_done, _end_of)


def _next_done(jobs: Sequence[Any]) -> Any:  # noqa: ANN401
    from submitit.helpers import as_completed

    return next(iter(as_completed(list(jobs), poll_frequency=SECONDS_BETWEEN_LOOKS)))


def _end_of(job: Any) -> Outcome | str:  # noqa: ANN401
    """Return the outcome, or how the job died; ``attempt`` itself raises nothing."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        outcome: Outcome = job.result()
    except (FailedJobError, UncompletedJobError) as error:
        return reason_of(error)
    return outcome
