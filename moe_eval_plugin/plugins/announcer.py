"""What plugins are told while a run goes on, and what they may add to its results.

Events carry one frozen record each. They are announced between timed regions: the clock of the run
stands still while plugins work. A plugin that fails is dropped for the rest of the run, and the
results say so: a broken exporter must not cost the answers of a night.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moe_eval_plugin.plugins.events import EXTRA_METRICS, HOOKS, RunEnd
from moe_eval_plugin.results.record import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    import pluggy


logger = logging.getLogger(__name__)


class Announcer:
    """Tells the plugins of a manager what happens, and keeps what failed in ``failures``."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        # pluggy keeps the one to be called first at the end.
        self._implementations = {
            hook: list(reversed(getattr(manager.hook, hook).get_hookimpls())) for hook in HOOKS
        }
        self.failures: list[str] = []

    def listens(self, hook: str) -> bool:
        """Tell whether any plugin wants to know of this event."""
        return bool(self._implementations[hook])

    def announce(self, hook: str, event: object) -> None:
        """Call each plugin with the event."""
        self._call(hook, event, lambda _returned: None)

    def extra_metrics(self, event: RunEnd) -> list[Metric]:
        """Collect the rows that plugins add.

        A row for an unknown task, under a name that stands for something else, or of a value that
        is no number, is an error of the plugin; then none of its rows is taken.
        """
        metrics: list[Metric] = []
        ours = {(task, name) for task, one in event.records.items() for name in one.rows()}

        def collect(returned: object) -> None:
            found: list[Metric] = []
            for metric in _as_rows(returned):
                taken = ours.union((one.task, one.name) for one in [*metrics, *found])
                found.append(_checked(metric, event.records, taken))
            metrics.extend(found)

        self._call(EXTRA_METRICS, event, collect)
        return metrics

    def _call(self, hook: str, event: object, take: Callable[[object], None]) -> None:
        for one in list(self._implementations[hook]):
            try:
                take(one.function(*[event for _ in one.argnames]))
            except Exception as error:  # noqa: BLE001  (a guest's fault must not cost the answers)
                self._drop(one.plugin_name, hook, error)

    def _drop(self, name: str, hook: str, error: Exception) -> None:
        failure = f"The plugin {name} failed in {hook}: {type(error).__name__}: {error}"
        logger.error("%s. It is not called again in this run.", failure, exc_info=error)
        self.failures.append(failure)
        for implementations in self._implementations.values():
            implementations[:] = [one for one in implementations if one.plugin_name != name]


def _as_rows(returned: object) -> Iterable[object]:
    """Give what a plugin returned as rows; ``None`` stands for no row."""
    if returned is None:
        return ()
    if isinstance(returned, Iterable):
        return returned
    message = f"{returned!r} is no list of Metric. Return or yield one Metric for each row."
    raise TypeError(message)


def _checked(metric: object, tasks: Container[str], taken: Container[tuple[str, str]]) -> Metric:
    if not isinstance(metric, Metric):
        message = (
            f"{metric!r} is no Metric. Use moe_eval_plugin.results.record.Metric for each row."
        )
        raise TypeError(message)
    if metric.task not in tasks or (metric.task, metric.name) in taken:
        message = f"{metric.name} of {metric.task} is not a free name of a known task"
        raise ValueError(message)
    if metric.value is not None and not _is_number(metric.value):
        message = (
            f"{metric.name} of {metric.task} is {metric.value!r}: give a finite number or None"
        )
        raise ValueError(message)
    return metric


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
