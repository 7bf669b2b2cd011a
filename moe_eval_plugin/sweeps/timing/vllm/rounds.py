"""Time engines that hold one k each: in each round one engine for each setting, in drawn order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from moe_eval_plugin.results.timing.timed_pass import TimedBlock
from moe_eval_plugin.stats.interleaved import block_order
from moe_eval_plugin.sweeps.timing.pass_file import PassFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from moe_eval_plugin.measure.hardware_use import HardwareUse
    from moe_eval_plugin.measure.machine_load import MachineLoad
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.timing.timed_pass import TimedPass

USUAL_ROUNDS = 3
# Where an engine takes longer to start, all settings are timed once.
LONGEST_START_S = 60.0


class RoundEngine(Protocol):
    """An engine that holds one k."""

    def time_sample(self, wanted: TimedPass) -> tuple[tuple[BatchTiming, ...], HardwareUse]:
        """Warm up, and time all questions of a pass."""

    def load(self) -> MachineLoad:
        """Return what else the machine did meanwhile."""


def default_rounds(start_seconds: Iterable[object]) -> int:
    """Return the number of rounds for engines that took so many seconds to start.

    It is 1 where a time is not known.
    """
    known = [one for one in start_seconds if isinstance(one, int | float)]
    return USUAL_ROUNDS if known and max(known) < LONGEST_START_S else 1


def run_rounds(
    folder: Path,
    passes: Sequence[TimedPass],
    start: Callable[[str], AbstractContextManager[RoundEngine]],
    n_rounds: int,
    after_block: Callable[[TimedPass], object] = lambda _: None,
) -> None:
    """Time the passes of a sweep round by round, after what earlier processes timed of them.

    ``start`` starts the engine of a setting. An engine times all passes, and a round is a block of
    each pass, on the disk when all settings are timed. Nothing is kept of a round that an error
    ends.
    """
    files = [PassFile(folder, one) for one in passes]
    for number in range(n_rounds):
        todo = [file for file in files if len(file.found.counted) == number]
        if todo:
            for file, block in zip(todo, _round(todo, number, start), strict=True):
                file.append(block)
                after_block(file.found)
    for file in files:
        file.end("rounds")


def _round(
    files: Sequence[PassFile],
    number: int,
    start: Callable[[str], AbstractContextManager[RoundEngine]],
) -> list[TimedBlock]:
    first = files[0].found
    order = block_order(first.settings, number, first.seed)
    timed: list[dict[str, tuple[tuple[BatchTiming, ...], HardwareUse]]] = [{} for _ in files]
    loads: list[list[MachineLoad]] = [[] for _ in files]
    for setting in order:
        with start(setting) as engine:
            for file, times, load in zip(files, timed, loads, strict=True):
                times[setting] = engine.time_sample(file.found)
                load.append(engine.load())
    return [
        TimedBlock(
            order=order,
            batches={setting: batches for setting, (batches, _) in times.items()},
            load=max(load, key=lambda one: one.other_cpu_cores or 0.0),
            hardware={setting: use for setting, (_, use) in times.items()},
        )
        for times, load in zip(timed, loads, strict=True)
    ]
