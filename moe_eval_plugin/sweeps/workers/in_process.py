"""Run the points of a sweep in this process: transformers, weights and data loaded once."""

from __future__ import annotations

from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, Self

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.sweeps.fingerprint import machine
from moe_eval_plugin.sweeps.workers.failures import reason_of
from moe_eval_plugin.sweeps.workers.input_cache import InputCache, limit_bytes
from moe_eval_plugin.sweeps.workers.journal import Journal, journal_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.planning import CheckedPlan
    from moe_eval_plugin.sweeps.workers.progress import Progress
    from moe_eval_plugin.sweeps.workers.resident_model import ResidentMoEHF

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
        self._checked = checked.model
        self._host = host
        self._folder = folder
        self._settings = settings
        self._input_cache_gib = input_cache_gib
        self._inputs: InputCache | None = None
        self._progress = progress
        self._model: ResidentMoEHF | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._host.resident(self._get_model))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, point: SweepPoint) -> Path:
        """Run one point: answer what its journal does not hold, score, and write the files."""
        identity = {"digest": point.digest(self._settings), **machine()}
        self._journal = Journal(journal_path(self._folder, point.name), identity)
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
                if self._model is not None:
                    raise
                message = (
                    f"No setting can run: the model was not loaded. {reason_of(error)}. All that "
                    f"was printed is in {log}."
                )
                raise UserError(message) from error

    def loaded(self) -> ResidentMoEHF:
        """Return the model without kept inputs and images; it is loaded if no point was run."""
        if self._model is None:
            self._progress.doing("loading the weights")
            self._model = load_resident(self._plan, self._checked)
        self._inputs, self._model.store, self._model.engine.image_outputs = None, None, None
        return self._model

    def _get_model(
        self, arg_string: str, additional_config: dict[str, Any] | None
    ) -> ResidentMoEHF:
        from moe_eval_plugin.engines.transformers.shared.images import ImageOutputs
        from moe_eval_plugin.hosts.shared.arguments import join_arguments
        from moe_eval_plugin.sweeps.workers.batch_size import found_batch_size
        from moe_eval_plugin.sweeps.workers.batch_store import SweepBatches
        from moe_eval_plugin.sweeps.workers.resident_model import ResidentMoEHF

        if self._model is None or self._inputs is None:
            self._progress.doing("loading the weights")
            arguments = join_arguments(arg_string, additional_config)
            self._model = ResidentMoEHF(self._checked, **arguments)
            self._model.progress = self._progress
            limit = limit_bytes(self._input_cache_gib)
            self._inputs = InputCache(limit)
            self._model.engine.image_outputs = ImageOutputs(limit)
        else:
            self._model.switch_to(arg_string, additional_config)
        self._model.batch_size = found_batch_size(self._folder) or self._model.batch_size
        self._model.store = SweepBatches(self._inputs, self._journal, self._progress.answered)
        return self._model


def load_resident(plan: SweepPlan, checked: ModelConfig | None = None) -> ResidentMoEHF:
    """Load the model of a plan, as the host would for its first point."""
    from moe_eval_plugin.hosts.shared.arguments import join_arguments
    from moe_eval_plugin.sweeps.workers.resident_model import ResidentMoEHF

    parts = (plan.model_args, plan.points[0].model_args)
    of_the_host = {"batch_size": plan.batch_size, "device": plan.device}
    arguments = join_arguments(",".join(part for part in parts if part), of_the_host)
    return ResidentMoEHF(checked, **arguments)
