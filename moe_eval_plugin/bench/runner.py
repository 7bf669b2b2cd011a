"""Run a plan on an engine: verify every setting, warm up, then time all k in turn by rounds.

Rounds go over all k before they begin again, so that whatever else the machine does slows all of
them alike. An engine that must be started anew for each k finishes one k before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from moe_eval_plugin.bench.efficiency import EfficiencyModel, Hardware
from moe_eval_plugin.bench.measurement import Measured, MeasuredPoint
from moe_eval_plugin.bench.plan import BenchSetting
from moe_eval_plugin.bench.report import BenchReport, fit_over_experts, make_points, reference_k
from moe_eval_plugin.errors import InsufficientMemoryError
from moe_eval_plugin.models.weights.dtypes import dtype_bytes

if TYPE_CHECKING:
    from moe_eval_plugin.bench.engines.engine import BenchEngine
    from moe_eval_plugin.bench.measurement import Observed, Repetition
    from moe_eval_plugin.bench.plan import BenchPlan, Workload
    from moe_eval_plugin.bench.targets.target import BenchTarget
    from moe_eval_plugin.hardware.device import DeviceFacts

Progress = Callable[[str], None]
T = TypeVar("T")


def run_bench(
    target: BenchTarget,
    plan: BenchPlan,
    device: DeviceFacts,
    progress: Progress = lambda _text: None,
) -> BenchReport:
    """Verify and time every k at every batch size, and report speed-ups and efficiency.

    Raises what the engine raises: ``OverrideNotEffectiveError`` before anything is timed.
    """
    return make_report(target, plan, device, measure(target.engine, plan, progress))


def make_report(
    target: BenchTarget, plan: BenchPlan, device: DeviceFacts, measured: Measured
) -> BenchReport:
    """Compare what was measured with the reference k, and with what the hardware could do."""
    reference = reference_k(plan, target.baseline)
    points = make_points(measured, plan, reference, _efficiency_model(target, device))
    return BenchReport(
        model=target.model,
        device=device.to_dict(),
        energy=target.engine.energy(),
        plan=plan,
        reference_num_experts_per_tok=reference,
        points=points,
        decode_step_fit=fit_over_experts(
            points, lambda point: point.speed.tpot_s.median if point.speed.tpot_s else None
        ),
        expert_layer_fit=fit_over_experts(points, lambda point: point.expert_layer_s),
        notes=(*target.notes, *measured.notes),
        reasons=(target.cost_unknown_reason,) if target.cost_unknown_reason else (),
    )


def measure(
    engine: BenchEngine, plan: BenchPlan, progress: Progress = lambda _text: None
) -> Measured:
    """Verify every setting, then time it. ``progress`` is called before each generation.

    Where memory ends, the larger batches of that k are left out, with a note. Raises what the
    engine raises otherwise; no k is timed before its verification.
    """
    run = _Run(engine, plan, progress)
    series = [plan.experts_k] if engine.changes_k_live else [(k,) for k in plan.experts_k]
    for ks in series:
        run.series(ks)
    return run.result()


class _Run:
    """The measurements so far."""

    def __init__(self, engine: BenchEngine, plan: BenchPlan, progress: Progress) -> None:
        self._engine = engine
        self._plan = plan
        self._progress = progress
        self._observed: dict[BenchSetting, Observed] = {}
        self._timed: dict[BenchSetting, list[Repetition]] = {}
        # The batch size at which the series of a k ended.
        self._ended: dict[int | None, int] = {}
        self._notes: list[str] = []

    def series(self, ks: Sequence[int | None]) -> None:
        """Verify some k at every batch size, then time them in turn."""
        for k in ks:
            for batch_size in self._plan.batch_sizes:
                self._observe(BenchSetting(k, batch_size))
        for batch_size in self._plan.batch_sizes:
            for number in range(self._plan.repeats + 1):
                for k in ks:
                    self._time(BenchSetting(k, batch_size), number)

    def _observe(self, setting: BenchSetting) -> None:
        """Verify the k of a setting and count its experts."""
        observed = self._attempt(setting, "observing", self._engine.observe)
        if observed is not None:
            self._observed[setting] = observed

    def _time(self, setting: BenchSetting, number: int) -> None:
        """Time a setting once; number 0 is the warm-up, which is not counted."""
        what = f"round {number} of {self._plan.repeats}" if number else "warming up"
        repetition = self._attempt(setting, what, self._engine.run)
        if repetition is not None and number > 0:
            self._timed.setdefault(setting, []).append(repetition)

    def result(self) -> Measured:
        """Return the settings whose repetitions are complete."""
        points = tuple(
            MeasuredPoint(setting, self._observed[setting], tuple(self._timed[setting]))
            for setting in self._plan.settings()
            if not self._has_ended(setting) and setting in self._timed
        )
        return Measured(points, tuple(self._notes))

    def _attempt(self, setting: BenchSetting, what: str, act: Callable[[Workload], T]) -> T | None:
        if self._has_ended(setting):
            return None
        self._progress(f"{setting}: {what}")
        try:
            with self._engine.at_k(setting.experts_k):
                return act(self._plan.workload(setting.batch_size))
        except InsufficientMemoryError as error:
            self._ended[setting.experts_k] = setting.batch_size
            self._notes.append(
                f"{setting}: out of memory ({error}); this and larger batches were skipped."
            )
            return None

    def _has_ended(self, setting: BenchSetting) -> bool:
        ended = self._ended.get(setting.experts_k)
        return ended is not None and setting.batch_size >= ended


def _efficiency_model(target: BenchTarget, device: DeviceFacts) -> EfficiencyModel | None:
    if target.cost is None:
        return None
    hardware = Hardware(device.memory_bandwidth_bytes_per_s, device.peak(target.dtype))
    return EfficiencyModel(target.cost, hardware, dtype_bytes(target.dtype))
