"""Run the timed pass of a sweep with ``moe_vllm``: k changed live, or an engine for each k."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.results.timing.timed_pass import FOLDER
from moe_eval_plugin.sweeps.timing.interleaved import run_pass
from moe_eval_plugin.sweeps.timing.sample import make_blocks
from moe_eval_plugin.sweeps.timing.vllm.orders import N_WARM_UP, TimingOrder, changes_k_live
from moe_eval_plugin.sweeps.timing.vllm.process import running_engine
from moe_eval_plugin.sweeps.timing.vllm.rounds import default_rounds, run_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from moe_eval_plugin.measure.hardware_use import HardwareUse
    from moe_eval_plugin.measure.machine_load import MachineLoad
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.timing.vllm.process import EngineProcess
    from moe_eval_plugin.sweeps.timing.work import TimedWork

MODELS = ("moe_vllm", "moe_vllm-vlm")


def rounds_to_time(plan: SweepPlan, manifest: Manifest, asked: int | None) -> int | None:
    """Return the rounds over engines, ``asked`` where given; ``None`` to change k in one engine."""
    if asked is not None:
        return asked
    if changes_k_live(plan.model_args, plan.host):
        return None
    done = [path for name in manifest.entries if (path := manifest.results_path(name))]
    records = [task.record for path in done for task in read_run(path).tasks if task.record]
    return default_rounds(record.provenance.get("engine_start_s") for record in records)


@dataclass(frozen=True)
class VLLMTimedJob:
    """A ``Worker`` that runs the timed pass with engines of its own, here or elsewhere.

    The paths must mean the same on each machine. Raises ``EngineFailedError`` where an engine does
    not start, verifies another k, or dies; blocks that are finished are on the disk.
    """

    work: TimedWork
    plan: SweepPlan
    folder: Path
    after_block: Callable[[TimedPass], object] = lambda _: None

    def __call__(self, _: SweepPoint) -> Path:
        """Run the whole timed pass, and return the folder of its files."""
        here = self.work.on_this_machine()
        here.remove_others(self.folder)
        pending = here.pending(self.folder)
        if self.work.n_rounds is None:
            with running_engine(self.plan, self.work.points[0], self.folder) as engine:
                timer = _LiveTimer(engine, self.work.points)
                for wanted in pending:
                    run_pass(self.folder, wanted, timer, self.after_block)
        else:
            run_rounds(self.folder, pending, self._start, self.work.n_rounds, self.after_block)
        return self.folder / FOLDER

    @contextmanager
    def _start(self, setting: str) -> Iterator[_OneK]:
        point = next(one for one in self.work.points if one.name == setting)
        with running_engine(self.plan, point, self.folder) as engine:
            yield _OneK(engine, point)


class _OneK:
    """A ``RoundEngine``."""

    def __init__(self, engine: EngineProcess, point: SweepPoint) -> None:
        self._engine = engine
        self._point = point

    def time_sample(self, wanted: TimedPass) -> tuple[tuple[BatchTiming, ...], HardwareUse]:
        """Warm up, and time all questions of a pass."""
        return self._engine.time(
            TimingOrder(
                task=wanted.task,
                positions=wanted.sample,
                batch_size=wanted.batch_size,
                experts_k=self._point.experts_k,
                # As many at once as will be timed: kernels are chosen by the size of a batch.
                n_warm_up=max(N_WARM_UP, wanted.batch_size),
            )
        )

    def load(self) -> MachineLoad:
        """Return what else the machine did meanwhile."""
        return self._engine.load()


class _LiveTimer:
    """A ``Timer`` with one engine, whose k is changed between blocks."""

    def __init__(self, engine: EngineProcess, points: Sequence[SweepPoint]) -> None:
        self._engine = engine
        self._points = {point.name: point for point in points}
        self.device = engine.device

    @contextmanager
    def blocks(self, wanted: TimedPass) -> Iterator[_LiveBlocks]:
        """Divide the positions of a sample into blocks."""
        n, sample = wanted.batch_size, wanted.sample
        batches = [sample[begin : begin + n] for begin in range(0, len(sample), n)]
        blocks = [
            tuple(chain.from_iterable(block)) for block in make_blocks(batches, n, wanted.seed)
        ]
        yield _LiveBlocks(self._engine, self._points, wanted, blocks)


@dataclass(frozen=True)
class _LiveBlocks:
    """``Blocks`` of one task, as positions of questions."""

    engine: EngineProcess
    points: dict[str, SweepPoint]
    wanted: TimedPass
    positions: Sequence[tuple[int, ...]]

    def time(self, setting: str, number: int) -> tuple[tuple[BatchTiming, ...], HardwareUse]:
        """Set and verify k, and time a block."""
        return self.engine.time(
            TimingOrder(
                task=self.wanted.task,
                positions=self.positions[number % len(self.positions)],
                batch_size=self.wanted.batch_size,
                experts_k=self.points[setting].experts_k,
            )
        )
