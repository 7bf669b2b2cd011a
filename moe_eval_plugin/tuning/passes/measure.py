"""Measure sensitivities, and the losses of whole schedules and policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.observation import Observation, merge
from moe_eval_plugin.tuning.cells import Cell, schedule_of
from moe_eval_plugin.tuning.passes.candidate import Candidate
from moe_eval_plugin.tuning.passes.measuring import Measuring
from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.engines.expert_request import ExpertRequest, ModelConfig
    from moe_eval_plugin.experts.tokens import Modality, Phase
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts
    from moe_eval_plugin.tuning.passes.journal import BatchLoss
    from moe_eval_plugin.tuning.passes.shared import SharedPasses


@dataclass(frozen=True)
class MeasuredLoss:
    """The loss of a schedule or a policy, and the experts that all calibration prompts used."""

    loss: Loss
    """The loss against the published model."""
    observation: Observation
    """The experts of all tokens, those of the answers as decoded ones."""

    @property
    def mean_k(self) -> float:
        """Mean routed experts per token and layer."""
        return self.observation.mean_k() or 0.0

    def mean_k_of(
        self,
        layer: int | None = None,
        modality: Modality | None = None,
        phase: Phase | None = None,
    ) -> float | None:
        """Return the mean k of some tokens, in a decoder layer or in all; ``None`` without any."""
        layers = {
            path: seen
            for path, seen in self.observation.layers.items()
            if layer in (None, layer_number(path))
        }
        return Observation(layers, self.observation.input_tokens).mean_k(None, modality, phase)


def measure_sensitivities(
    model: CalibrationModel,
    prompts: CalibrationPrompts,
    cells: Sequence[Cell],
    ks: Sequence[int],
    journal: Path,
    progress: Progress,
    shared: SharedPasses | None = None,
) -> Sensitivities:
    """Return the loss of each k in each cell alone, all other cells at the published k.

    ``journal`` is a file that an interrupted measurement continues from, with the same numbers; it
    may be shared with ``measure_losses``, as may the passes ``shared`` of one model and prompts.
    Each k is observed. Raises what ``Measuring`` raises.
    """
    candidates = cell_candidates(model.config, cells, ks)
    chosen = list(candidates.values())
    found = Measuring(
        model, prompts, chosen, journal, progress, observes=False, shared=shared
    ).run()
    losses = {at: _loss(prompts, found[one.name]) for at, one in candidates.items()}
    return Sensitivities(model.config.description.num_experts_per_tok, losses)


def cell_candidates(
    config: ModelConfig, cells: Sequence[Cell], ks: Sequence[int]
) -> dict[tuple[Cell, int], Candidate]:
    """Return each k in each cell alone as a candidate."""
    return {
        (cell, k): Candidate(f"{cell} k={k}", config.request(_schedule(config, cells, cell, k)))
        for cell in cells
        for k in ks
    }


def measure_losses(
    model: CalibrationModel,
    prompts: CalibrationPrompts,
    requests: Mapping[str, ExpertRequest],
    journal: Path,
    progress: Progress,
    shared: SharedPasses | None = None,
) -> dict[str, MeasuredLoss]:
    """Return the loss of each request, and the experts that were observed in all passes.

    ``journal`` and ``shared`` are as in ``measure_sensitivities``. Raises what ``Measuring``
    raises.
    """
    candidates = [Candidate(name, request) for name, request in requests.items()]
    found = Measuring(
        model, prompts, candidates, journal, progress, observes=True, shared=shared
    ).run()
    return {
        name: MeasuredLoss(_loss(prompts, found[name]), _observed(found[name])) for name in requests
    }


def _schedule(config: ModelConfig, cells: Iterable[Cell], cell: Cell, k: int) -> str:
    """Write the schedule that has another k in one cell alone, for all layers of the model."""
    kinds = dict.fromkeys((one.modality, one.phase) for one in cells)
    baseline = config.description.num_experts_per_tok
    choice = {Cell(layer, *kind): baseline for layer in config.moe_layers for kind in kinds}
    return schedule_of({**choice, cell: k}).text


def _loss(prompts: CalibrationPrompts, batches: Iterable[BatchLoss]) -> Loss:
    return Loss(prompts.by_question([loss for batch in batches for loss in batch.losses]))


def _observed(batches: Iterable[BatchLoss]) -> Observation:
    return merge(Observation.from_state(one.observation) for one in batches if one.observation)
