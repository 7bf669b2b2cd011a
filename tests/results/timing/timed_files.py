"""Timed passes as files, without a model: known seconds of each setting in each block."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.results.timing.timed_pass import FOLDER, TimedBlock, TimedPass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.measure.machine_load import MachineLoad

TASK = "easy_vqa"
BATCH_SIZE = 4
GIB = 2**30


def timed_pass(
    seconds: Mapping[str, Sequence[float]],
    task: str = TASK,
    batch_size: int = BATCH_SIZE,
    load: MachineLoad | None = None,
) -> TimedPass:
    """Make a pass with the seconds of each setting in each block; the first is the baseline."""
    settings = tuple(seconds)
    n_blocks = len(seconds[settings[0]])
    blocks = [
        TimedBlock(
            order=settings,
            batches={name: (_batch(task, batch_size, of[number]),) for name, of in seconds.items()},
            load=load,
            hardware={name: HardwareUse(PeakMemory(None, None, GIB), None) for name in settings},
        )
        for number in range(n_blocks)
    ]
    slow = {name: (_batch(task, batch_size, 100.0),) for name in settings}
    return TimedPass(
        task=task,
        batch_size=batch_size,
        settings=settings,
        baseline=settings[0],
        sample=tuple(range(batch_size)),
        seed=0,
        precision=0.03,
        budget_s=60.0,
        blocks=(TimedBlock(settings, slow, is_warm_up=True), *blocks),
        ended_by="precision",
    )


def write_timed_pass(folder: Path, one: TimedPass) -> Path:
    """Write a pass into the folder of a sweep, and return its file."""
    lines = [one.header(), *(block.to_dict() for block in one.blocks), {"ended_by": one.ended_by}]
    path = folder / FOLDER / f"{one.task}-b{one.batch_size}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def around(middle: float, n: int = 8, spread: float = 0.01) -> list[float]:
    """Make seconds around a middle, by turns a little more and a little less."""
    return [middle * (1 + spread * (-1) ** number * (number + 1) / n) for number in range(n)]


def _batch(task: str, n: int, seconds: float) -> BatchTiming:
    return BatchTiming(task, n, 25 * n, (2,) * n, seconds, 0.1 * seconds, 0.8 * seconds)
