"""Call plugins at the events of a run, and collect the metrics that they add to its results.

Events are announced between timed regions: the clock of the run is stopped while plugins work. A
plugin that fails is not called again in the run, and the results name it: a broken plugin must not
cost the answers of a long run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moe_eval_plugin.results.record import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    import pluggy

    from moe_eval_plugin.plugins.events import BatchEnd, RunEnd, RunStart

RUN_START = "moe_eval_run_start"
BATCH_END = "moe_eval_batch_end"
RUN_END = "moe_eval_run_end"
EXTRA_METRICS = "moe_eval_extra_metrics"
HOOKS = (RUN_START, BATCH_END, RUN_END, EXTRA_METRICS)

logger = logging.getLogger(__name__)


class Announcer:
    """Calls the plugins of a manager; ``failures`` lists the plugins that failed, and why."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        # pluggy keeps the one to be called first at the end.
        self._implementations = {
            hook: list(reversed(getattr(manager.hook, hook).get_hookimpls())) for hook in HOOKS
        }
        self.failures: list[str] = []

    def run_start(self, event: RunStart) -> None:
        """Call each plugin that implements ``moe_eval_run_start``."""
        self._call(RUN_START, event, _ignore)

    def batch_end(self, event: BatchEnd) -> bool:
        """Call each plugin that implements ``moe_eval_batch_end``; return whether there is any."""
        is_heard = bool(self._implementations[BATCH_END])
        self._call(BATCH_END, event, _ignore)
        return is_heard

    def run_end(self, event: RunEnd) -> None:
        """Call each plugin that implements ``moe_eval_run_end``."""
        self._call(RUN_END, event, _ignore)

    def extra_metrics(self, event: RunEnd) -> list[Metric]:
        """Return the metrics of each plugin that implements ``moe_eval_extra_metrics``.

        A metric of an unknown task, under a name that is taken, or with a value that is not a
        finite number is an error of its plugin; then none of the plugin's metrics is returned.
        """
        metrics: list[Metric] = []
        ours = {(task, name) for task, one in event.records.items() for name in one.rows()}

        def collect(returned: object) -> None:
            found: list[Metric] = []
            for metric in _as_metrics(returned):
                taken = ours.union((one.task, one.name) for one in [*metrics, *found])
                found.append(_checked(metric, event.records, taken))
            metrics.extend(found)

        self._call(EXTRA_METRICS, event, collect)
        return metrics

    def _call(self, hook: str, event: object, use: Callable[[object], None]) -> None:
        # Not through pluggy, which would stop at the first plugin that fails.
        for one in list(self._implementations[hook]):
            try:
                use(one.function(*[event for _ in one.argnames]))
            except Exception as error:  # noqa: BLE001  (a plugin's fault must not cost the answers)
                self._drop(one.plugin_name, hook, error)

    def _drop(self, name: str, hook: str, error: Exception) -> None:
        failure = f"The plugin {name} failed in {hook}: {type(error).__name__}: {error}"
        logger.error("%s. It is not called again in this run.", failure, exc_info=error)
        self.failures.append(failure)
        for implementations in self._implementations.values():
            implementations[:] = [one for one in implementations if one.plugin_name != name]


def _ignore(_returned: object) -> None:
    """Drop what a hook without a result returned."""


def _as_metrics(returned: object) -> Iterable[object]:
    """Return what a plugin returned as an iterable; ``None`` means no metric."""
    if returned is None:
        return ()
    if isinstance(returned, Iterable):
        return returned
    message = f"{returned!r} is not a list of Metric. Return or yield one Metric for each row."
    raise TypeError(message)


def _checked(metric: object, tasks: Container[str], taken: Container[tuple[str, str]]) -> Metric:
    if not isinstance(metric, Metric):
        message = f"{metric!r} is not a Metric. Use moe_eval_plugin.plugins.Metric for each row."
        raise TypeError(message)
    if metric.task not in tasks or (metric.task, metric.name) in taken:
        message = f"{metric.name} of {metric.task} is not a free name of a known task"
        raise ValueError(message)
    if metric.value is not None and not _is_number(metric.value):
        message = f"{metric.name} of {metric.task} is {metric.value!r}: use a finite number or None"
        raise ValueError(message)
    return metric


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
