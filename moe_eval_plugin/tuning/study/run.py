"""Run a study of tuning: measure, price, search, measure again, and write what was found."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from moe_eval_plugin.prompts.progress import NoProgress
from moe_eval_plugin.sweeps.identity.fingerprint import model_settings
from moe_eval_plugin.text import counted
from moe_eval_plugin.tuning.cells import cells_of, schedule_text
from moe_eval_plugin.tuning.frontier.frontier import find_frontier
from moe_eval_plugin.tuning.frontier.targets import uniform_targets
from moe_eval_plugin.tuning.prices.counted import expert_prices, flop_prices
from moe_eval_plugin.tuning.prices.lengths import prompt_lengths
from moe_eval_plugin.tuning.study.checks import check_config, check_output
from moe_eval_plugin.tuning.study.folder import JOURNAL, StudyPaths, read_study
from moe_eval_plugin.tuning.study.origin import changes_since, decode_bytes, origin_of
from moe_eval_plugin.tuning.study.study import TuningStudy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.experts.schedules.tuning_record import CalibrationQuestions
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.tuning.calibration import (
        CalibrationModel,
        CalibrationPrompts,
        PromptBatch,
    )
    from moe_eval_plugin.tuning.frontier.frontier import Frontier
    from moe_eval_plugin.tuning.frontier.point import FrontierPoint
    from moe_eval_plugin.tuning.passes.measure import MeasuredLoss
    from moe_eval_plugin.tuning.passes.shared import SharedPasses
    from moe_eval_plugin.tuning.prices.prices import Prices
    from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities
    from moe_eval_plugin.tuning.study.request import TuneRequest
    from moe_eval_plugin.tuning.study.study import CalibratedPolicy

logger = logging.getLogger(__name__)


def tune(
    request: TuneRequest, output: Path, command: str, progress: Progress | None = None
) -> TuningStudy:
    """Find the schedule of least loss at each target, write the study, and return it.

    ``output`` is a folder, or the YAML file of the only schedule; ``command`` repeats the study.
    What an interrupted call measured is not measured again; a finished study is read. Raises
    ``UserError`` for what is not possible, most of it before a weight is read, and where another
    process works in the folder, and ``OverrideNotEffectiveError``.
    """
    from moe_eval_plugin.hosts.exit_codes import errors_are_raised
    from moe_eval_plugin.hosts.harness import installed_harness
    from moe_eval_plugin.prompts.loading import read_model
    from moe_eval_plugin.tuning.calibration_prompts import LACKING, calibration_prompts

    paths, shown = StudyPaths.of(output), progress or NoProgress()
    check_output(request, paths)
    host = installed_harness(request.calibration.host)
    with errors_are_raised():
        config = read_model(request.calibration, host, shown, LACKING).config
        check_config(request, config)
        facts = {**request.settings(), **model_settings(config)}
        paths.check(facts)
        if paths.is_finished:
            return _finished(paths, request.calibration.host)
        with (
            paths.held(),
            calibration_prompts(request.calibration, shown) as (model, prompts),
        ):
            return Tuning(request, model, prompts, paths, shown).run(command, facts)


def _finished(paths: StudyPaths, host: str) -> TuningStudy:
    """Read a finished study, and say what has changed since it was made."""
    study = read_study(paths.folder)
    paths.write_missing(study)
    if changes := changes_since(study.origin, host):
        logger.warning(
            "%s is a study of %s, which is read as it is; since then something has changed (%s). "
            "Pass another folder with --output to measure again.",
            *(paths.folder, study.origin.date, "; ".join(changes)),
        )
    return study


@dataclass
class Tuning:
    """A study at work: a loaded model, its calibration prompts, and where it is written."""

    request: TuneRequest
    model: CalibrationModel
    prompts: CalibrationPrompts
    paths: StudyPaths
    progress: Progress
    measured: dict[str, MeasuredLoss] = field(default_factory=dict)
    """Policies that were measured, by ``experts_policy``."""

    def __post_init__(self) -> None:
        config = self.model.config
        self.ks = check_config(self.request, config)
        self.baseline = config.description.num_experts_per_tok
        self.cells = cells_of(config.moe_layers, self.request.by)
        self.lengths = prompt_lengths(self.prompts, self.model.module.config)
        if self.request.calibration.data_free:
            self.lengths = self.lengths.in_one_pass()

    def run(self, command: str, facts: Mapping[str, Any]) -> TuningStudy:
        """Measure, search and write; return the study. ``facts`` say whose the folder is.

        Raises ``InvalidArgumentError`` for a target below the least possible price.
        """
        prices = self.prices()
        targets = self.request.targets or uniform_targets(prices)
        for target in targets:
            prices.budget(target)
        self.paths.begin(facts)
        sensitivities = self.sensitivities()
        frontier = find_frontier(
            sensitivities,
            prices,
            targets,
            self.losses,
            seed=self.request.calibration.seed,
            name=self.paths.name,
        )
        policies, unreached = self._policies(sensitivities, targets, prices)
        study = self._study(command, sensitivities, prices, frontier)
        study = replace(
            study,
            policies=tuple(policies),
            n_tried=study.n_tried + len(self.measured),
            notes=(*study.notes, *unreached),
        )
        self.paths.write(study)
        return study

    def prices(self) -> Prices:
        """Return what each cell costs at each k, counted or measured."""
        unit = self.request.unit
        if unit == "time":
            return self._measured_prices()
        if unit == "flops" and self.flops is not None:
            return self.flops
        return expert_prices(self.cells, self.ks, self.baseline, self.lengths)

    @cached_property
    def flops(self) -> Prices | None:
        """The FLOPs of each cell at each k; ``None`` where the cost of the model is not known."""
        config = self.model.config
        if config.cost is None:
            return None
        layers, lengths = config.moe_layers, self.lengths
        return flop_prices(layers, self.cells, self.ks, self.baseline, lengths, config.cost)

    @cached_property
    def passes(self) -> SharedPasses:
        """The passes that all measurements of the study share."""
        from moe_eval_plugin.tuning.passes.shared import SharedPasses

        return SharedPasses(self.model, self.prompts)

    def sensitivities(self) -> Sensitivities:
        """Measure the loss of each k in each cell alone."""
        from moe_eval_plugin.tuning.passes.measure import measure_sensitivities

        journal = self.paths.folder / JOURNAL
        return measure_sensitivities(
            self.model, self.prompts, self.cells, self.ks, journal, self.progress, self.passes
        )

    def losses(self, schedules: Sequence[str]) -> Mapping[str, Loss]:
        """Measure the joint loss of schedules, given as text of ``experts_k``."""
        requests = {text: self.model.config.request(text) for text in schedules}
        return {text: one.loss for text, one in self._measure(requests).items()}

    def _measure(self, requests: Mapping[str, ExpertRequest]) -> dict[str, MeasuredLoss]:
        from moe_eval_plugin.tuning.passes.measure import measure_losses

        journal = self.paths.folder / JOURNAL
        return measure_losses(
            self.model, self.prompts, requests, journal, self.progress, self.passes
        )

    def _policies(
        self, sensitivities: Sensitivities, targets: Sequence[float], prices: Prices
    ) -> tuple[list[CalibratedPolicy], list[str]]:
        """Calibrate the policies at each target, and say where one cannot reach it."""
        if not self.request.policies:
            return [], []
        from moe_eval_plugin.tuning.study.calibrated import PolicyCalibrations

        config = self.model.config

        def measure(text: str) -> MeasuredLoss:
            return self._measure({text: config.request(None, text)})[text]

        calibrations = PolicyCalibrations(
            layers=config.moe_layers,
            model=self.model.module,
            prompts=self.prompts,
            has_images=bool(self.lengths.image.any()),
            sensitivities=sensitivities,
            measure=measure,
            measured=self.measured,
        )
        return calibrations.calibrate(self.request.policies, targets, prices)

    def _measured_prices(self) -> Prices:
        from moe_eval_plugin.tuning.passes.batch_passes import BatchPasses
        from moe_eval_plugin.tuning.prices.times import measure_times, time_prices

        def run(batch: PromptBatch) -> object:
            # A new one each time, so that images are encoded each time, as they are in use.
            return BatchPasses(self.model, batch, None).run_whole()

        self.progress.doing("timing the experts of each layer")
        times = measure_times(self.model, self.prompts.batches, run, self.ks)
        return time_prices(times, self.ks, self.baseline)

    def _study(
        self, command: str, sensitivities: Sensitivities, prices: Prices, frontier: Frontier
    ) -> TuningStudy:
        texts = {ks: schedule_text(prices.cells, ks, self.baseline) for ks in frontier.losses}
        return TuningStudy(
            origin=origin_of(self.request, self.model.config, command),
            by=self.request.by,
            sensitivities=sensitivities,
            prices=prices,
            points=tuple(self._with_costs(point) for point in frontier.points),
            tried={texts[ks]: loss for ks, loss in frontier.losses.items()},
            n_tried=frontier.n_tried + len(sensitivities.losses),
            n_prompts=self.prompts.n_prompts,
            questions=self.prompts.questions,
            data_free=self.request.calibration.data_free,
            seed=self.request.calibration.seed,
            notes=(*prices.notes, *_notes_on_questions(self.prompts.questions)),
        )

    def _with_costs(self, point: FrontierPoint) -> FrontierPoint:
        """Return a point with its FLOPs and the bytes of a decode step, where they are known."""
        config = self.model.config
        cost, layers = config.cost, config.moe_layers
        if cost is None or len(layers) != len(cost.routed_layers):
            return point
        choice = dict(zip(self.cells, point.ks, strict=True))
        flops = self.flops.share(choice) if self.flops else None
        n_bytes = decode_bytes(cost, layers, choice, self.baseline, self.lengths)
        return replace(point, flops=flops, decode_bytes=n_bytes)


def _notes_on_questions(questions: Sequence[CalibrationQuestions]) -> Iterator[str]:
    for one in questions:
        if one.is_evaluated:
            yield (
                f"{counted(len(one.doc_ids), 'question')} of {one.split}, which {one.task} "
                "evaluates, took part in choosing: reports and comparisons leave them out."
            )
