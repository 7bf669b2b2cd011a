"""Run the points of a sweep as tasks of Ray, on this machine or on a cluster."""

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

    from moe_eval_plugin.sweeps.launchers.launcher import Worker
    from moe_eval_plugin.sweeps.plan import SweepPoint


class RayLauncher:
    """Runs each point as a task that reserves its GPUs and one CPU.

    ``options`` go to ``ray.init``: ``address`` of a cluster, or ``num_cpus`` of a Ray that is
    started here and ended with the sweep. A Ray that runs already is used as it is.
    """

    def __init__(self, gpus_per_point: float, options: Mapping[str, str]) -> None:
        self._gpus_per_point = gpus_per_point
        self._options = with_numbers(options)

    def run(
        self, points: Sequence[SweepPoint], worker: Worker, begin: Callable[[SweepPoint], None]
    ) -> Iterator[Outcome]:
        """Submit all points; Ray runs as many at a time as its resources allow."""
        import ray

        started_here = not ray.is_initialized()
        if started_here:
            ray.init(**{"include_dashboard": False, "log_to_driver": False, **self._options})
        try:
            task = ray.remote(num_cpus=1, num_gpus=self._gpus_per_point, max_retries=0)(attempt)

            def submit(point: SweepPoint) -> Any:  # noqa: ANN401  (Ray's reference)
                begin(point)
                return task.remote(point, worker)

            yield from retry_once(points, submit, _next_done, _end_of)
        finally:
            if started_here:
                ray.shutdown()


def _next_done(jobs: Sequence[Any]) -> Any:  # noqa: ANN401
    import ray

    done, _ = ray.wait(list(jobs), num_returns=1)
    return done[0]


def _end_of(job: Any) -> Outcome | str:  # noqa: ANN401
    """Return the outcome, or how the worker died; ``attempt`` itself raises nothing."""
    import ray

    try:
        outcome: Outcome = ray.get(job)
    except ray.exceptions.RayError as error:
        return reason_of(error)
    return outcome
