"""Time every setting on the same batches, block by block, until it is precise enough."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from moe_eval_plugin.hardware.watch import MachineWatch
from moe_eval_plugin.measure.timing import read_clock
from moe_eval_plugin.results.timing.timed_pass import TimedBlock, pass_path
from moe_eval_plugin.stats.interleaved import block_order, is_precise
from moe_eval_plugin.sweeps.timing.pass_file import PassFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from moe_eval_plugin.measure.hardware_use import HardwareUse
    from moe_eval_plugin.measure.timing import BatchTiming, Clock
    from moe_eval_plugin.results.timing.timed_pass import EndedBy, TimedPass
    from moe_eval_plugin.stats.speed import SpeedRatio

logger = logging.getLogger(__name__)


class DoesNotFitError(Exception):
    """A batch that does not fit into the memory; ``batch_size`` is one that may."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(batch_size)
        self.batch_size = batch_size


class Blocks(Protocol):
    """The blocks of one task at one batch size; after the last one, the first comes again."""

    def time(self, setting: str, number: int) -> tuple[tuple[BatchTiming, ...], HardwareUse | None]:
        """Set a setting, and time the batches of a block at it; raises ``DoesNotFitError``.

        Setting it takes no time that is measured. The second value is its memory and energy.
        """


class Timer(Protocol):
    """Has all settings of a sweep at hand, and times blocks at each."""

    @property
    def device(self) -> str:
        """The device of the model, as torch names it."""

    def blocks(self, wanted: TimedPass) -> AbstractContextManager[Blocks]:
        """Divide the questions of a pass into blocks, ready to be timed."""


def run_pass(
    folder: Path,
    wanted: TimedPass,
    timer: Timer,
    after_block: Callable[[TimedPass], object] = lambda _: None,
    clock: Clock = read_clock,
) -> TimedPass:
    """Time a pass to its end, after what an earlier process timed of it, and return it.

    ``wanted`` is the pass without blocks. A batch size that does not fit is halved for all
    settings, and the pass of the smaller one is begun. The first block of this process is a
    warm-up. ``after_block`` gets the pass after each block.
    """
    while True:
        try:
            with timer.blocks(wanted) as blocks:
                file = PassFile(folder, wanted)
                watch = MachineWatch(timer.device)
                return _run(file, blocks, watch, after_block, clock)
        except DoesNotFitError as error:
            logger.warning(
                "%s: out of memory at batch size %d; all settings are timed at %d.",
                wanted.task,
                wanted.batch_size,
                error.batch_size,
            )
            pass_path(folder, wanted).unlink(missing_ok=True)
            wanted = replace(wanted, batch_size=error.batch_size)


def _run(
    file: PassFile,
    blocks: Blocks,
    watch: MachineWatch,
    after_block: Callable[[TimedPass], object],
    clock: Clock,
) -> TimedPass:
    began, spent = clock(), _seconds_of(file.found)
    is_warm_up = True
    while file.found.ended_by is None:
        ended_by = _end(file.found, spent + clock() - began)
        if ended_by is not None:
            file.end(ended_by)
            break
        file.append(_time_block(file.found, blocks, watch, is_warm_up=is_warm_up))
        is_warm_up = False
        after_block(file.found)
    return file.found


def _time_block(
    found: TimedPass, blocks: Blocks, watch: MachineWatch, *, is_warm_up: bool
) -> TimedBlock:
    number = len(found.counted)
    order = block_order(found.settings, number, found.seed)
    watch.start()
    timed = {setting: blocks.time(setting, number) for setting in order}
    return TimedBlock(
        order=order,
        batches={setting: batches for setting, (batches, _) in timed.items()},
        is_warm_up=is_warm_up,
        load=watch.load(),
        hardware={setting: use for setting, (_, use) in timed.items() if use is not None},
    )


def _end(found: TimedPass, seconds: float) -> EndedBy | None:
    """Return why a pass ends now; ``None`` if it goes on. It has one counted block at least."""
    if not found.counted:
        return None
    if is_precise(_speed_ups(found), found.precision):
        return "precision"
    return "budget" if seconds >= found.budget_s else None


def widest_interval(found: TimedPass) -> float | None:
    """Return the width of the widest interval as a share; ``None`` before all are known."""
    widths = [one.width if one is not None else None for one in _speed_ups(found)]
    known = [width for width in widths if width is not None]
    return max(known, default=0.0) if len(known) == len(widths) else None


def _speed_ups(found: TimedPass) -> list[SpeedRatio | None]:
    return [found.speed_up(one) for one in found.settings if one != found.baseline]


def _seconds_of(found: TimedPass) -> float:
    """Return the seconds that earlier processes spent in the batches of a pass."""
    return sum(block.seconds(name) for block in found.blocks for name in found.settings)
