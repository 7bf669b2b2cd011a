"""Run the points of a sweep in this process: transformers, weights and data loaded once."""

from __future__ import annotations

from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, Self

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.sweeps.workers.failures import reason_of
from moe_eval_plugin.sweeps.workers.resident import make_resident

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.sweeps.plan import SweepPoint
    from moe_eval_plugin.sweeps.planning import CheckedPlan
    from moe_eval_plugin.sweeps.workers.progress import Progress

LOGS = "logs"


class InProcessWorker:
    """Runs points one by one with one model, whose k is changed and verified at each.

    ``input_cache_gib`` is the memory for encoded inputs; ``None`` takes a share of what is free
    once the weights are loaded. ``progress`` gets the steps of the model. What the host
    prints goes into a log for each point.
    """

    def __init__(
        self,
        checked: CheckedPlan,
        host: LoadedTasks,
        folder: Path,
        settings: Mapping[str, Any],
        input_cache_gib: float | None,
        progress: Progress,
    ) -> None:
        self._plan = checked.plan
        self._host = host
        self._folder = folder
        self._resident = make_resident(
            checked.plan, checked.model, folder, settings, input_cache_gib, progress
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._host.resident(self._get_model))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, point: SweepPoint) -> Path:
        """Run one point: answer what its journal does not hold, score, and write the files."""
        self._point = point
        output = self._folder / point.name
        log = self._folder / LOGS / f"{point.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = self._plan.host_arguments(point, str(output))
        with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                return self._host.evaluate(arguments, output)
            except UserError:
                raise
            except Exception as error:
                if self._resident.is_loaded:
                    raise
                message = (
                    f"No setting can run: the model was not loaded. {reason_of(error)}. All that "
                    f"was printed is in {log}."
                )
                raise UserError(message) from error

    def loaded(self) -> Any:  # noqa: ANN401  (the host's)
        """Return the model with nothing kept from the points; it is loaded if none was run."""
        return self._resident.loaded()

    def _get_model(
        self,
        model_args: Any,  # noqa: ANN401  (a text or a mapping, as the host has it)
        of_the_host: Mapping[str, Any] | None,
    ) -> Any:  # noqa: ANN401  (the host's)
        return self._resident.at(self._point, model_args, of_the_host)
