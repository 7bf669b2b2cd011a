"""The timed pass of a sweep: every setting timed on the same questions, block by block.

A pass belongs to one task and one batch size. In each block all settings are timed on the same
batches, in drawn order, so that whatever slows the machine slows them alike. The first block of
each process is a warm-up and is not counted. Images are not shared and nothing is cached: times are
those of requests as a user would send them, with the preparation of their inputs.

A pass is a file of JSON lines, ``FOLDER/timing/TASK-bSIZE.jsonl``: a line for what it is of, a line
for each block, on the disk before the next block begins, and a line for why it ended.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.measure.speed import TaskSpeed, summarise
from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.stats.speed import SpeedRatio, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

SCHEMA_VERSION = 1
KIND = "timed pass"
FOLDER = "timing"
Method = Literal["interleaved", "rounds"]
EndedBy = Literal["precision", "budget", "rounds"]


@dataclass(frozen=True)
class TimedBlock:
    """One block: the same batches at every setting."""

    order: tuple[str, ...]
    """Names of the settings, in the order in which they were timed."""
    batches: Mapping[str, tuple[BatchTiming, ...]]
    """The batches of each setting."""
    is_warm_up: bool = False
    """Whether it is not counted."""
    load: MachineLoad | None = None
    """How busy the machine was while the block was timed."""
    hardware: Mapping[str, HardwareUse] = field(default_factory=dict)
    """Memory and energy of each setting."""

    def seconds(self, setting: str) -> float:
        """Return the wall time of a setting."""
        return sum(one.wall_s for one in self.batches[setting])

    def model_seconds(self, setting: str) -> float | None:
        """Return the time of a setting in calls of the model; ``None`` where it is not known."""
        known = [one.generate_s for one in self.batches[setting] if one.generate_s is not None]
        return sum(known) if len(known) == len(self.batches[setting]) else None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return {
            "order": list(self.order),
            "batches": {
                name: [one.to_dict() for one in batches] for name, batches in self.batches.items()
            },
            "is_warm_up": self.is_warm_up,
            "load": self.load.to_dict() if self.load else None,
            "hardware": {name: use.to_dict() for name, use in self.hardware.items()},
        }

    @classmethod
    def from_dict(cls, values: JsonObject) -> TimedBlock:
        """Build the block from its stored fields; ``DataError`` for a wrong type."""
        batches, load = values.need_item("batches"), values.item("load")
        hardware = values.item("hardware") or JsonObject({})
        return cls(
            order=values.texts("order"),
            batches={
                name: tuple(BatchTiming.from_dict(one) for one in batches.items(name))
                for name in batches.values
            },
            is_warm_up=bool(values.values.get("is_warm_up")),
            load=MachineLoad.from_dict(load) if load else None,
            hardware={
                name: HardwareUse.from_dict(hardware.need_item(name)) for name in hardware.values
            },
        )


@dataclass(frozen=True)
class TimedPass:
    """The timed pass of one task at one batch size."""

    task: str
    """Name of the task."""
    batch_size: int
    """Questions that are answered at once."""
    settings: tuple[str, ...]
    """Names of the settings, which are the points of the sweep."""
    baseline: str
    """Name of the setting that the others are compared with."""
    sample: tuple[int, ...]
    """Positions of the timed questions in the data of the task."""
    seed: int
    """Seed that chose them."""
    precision: float
    """Width of a ratio's interval, as a share of the ratio, at which the pass ends."""
    budget_s: float
    """Seconds after which it ends whatever its precision."""
    method: Method = "interleaved"
    """``interleaved`` changes k between batches; ``rounds`` starts an engine for each k."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What its numbers depend on: a digest of the settings of the sweep, and the machine."""
    blocks: tuple[TimedBlock, ...] = ()
    """All blocks, in their order."""
    ended_by: EndedBy | None = None
    """Why it ended; ``None`` where it has not, or was interrupted."""

    @cached_property
    def counted(self) -> tuple[TimedBlock, ...]:
        """The blocks that are no warm-up."""
        return tuple(block for block in self.blocks if not block.is_warm_up)

    @property
    def n_questions(self) -> int:
        """Questions that were timed; a pass that is longer than its sample times some again."""
        speed = self.speed(self.baseline)
        return min(len(self.sample), speed.n_samples) if speed else 0

    def speed_up(self, setting: str) -> SpeedRatio | None:
        """Return how many times as fast as the baseline a setting answers requests.

        ``None`` before a block is counted. The interval is ``None`` where it was timed once.
        """
        return self.ratio(setting, self.baseline)

    def ratio(self, setting: str, other: str) -> SpeedRatio | None:
        """Return how many times as fast as any other setting one answers requests."""
        return self._ratio(setting, other, lambda block, name: block.seconds(name))

    def model_speed_up(self, setting: str) -> SpeedRatio | None:
        """Return the same for calls of the model alone; ``None`` where they are not timed."""
        return self._ratio(setting, self.baseline, lambda block, name: block.model_seconds(name))

    def speed(self, setting: str) -> TaskSpeed | None:
        """Return counts, times, rates and latencies of a setting over all counted blocks."""
        batches = [one for block in self.counted for one in block.batches[setting]]
        return summarise([batches]).get(self.task)

    def hardware(self, setting: str) -> HardwareUse:
        """Return the memory and energy of a setting over all counted blocks."""
        found = [block.hardware.get(setting, HardwareUse()) for block in self.counted]
        peak, joules = None, [use.joules for use in found]
        for use in found:
            peak = use.peak_memory.largest(peak) if use.peak_memory else peak
        known = [one for one in joules if one is not None]
        return HardwareUse(peak, sum(known) if known and len(known) == len(found) else None)

    def _ratio(
        self, setting: str, other: str, seconds: Callable[[TimedBlock, str], float | None]
    ) -> SpeedRatio | None:
        own = [seconds(block, setting) for block in self.counted]
        base = [seconds(block, other) for block in self.counted]
        pairs = [(a, b) for a, b in zip(own, base, strict=True) if a and b]
        if not pairs or len(pairs) < len(own):
            return None
        looks = self.method == "interleaved" and self.ended_by != "budget"
        return paired_ratio([a for a, _ in pairs], [b for _, b in pairs], repeated_looks=looks)

    def header(self) -> dict[str, Any]:
        """Return all fields but the blocks and the end, as plain JSON data."""
        fields = asdict(replace(self, blocks=()))
        del fields["blocks"], fields["ended_by"]
        return {"schema_version": SCHEMA_VERSION, "kind": KIND, **fields}

    @classmethod
    def from_lines(cls, lines: Iterable[JsonObject]) -> TimedPass:
        """Build the pass from its stored lines; ``DataError`` for a wrong one."""
        first, *others = lines
        if first.values.get("schema_version") != SCHEMA_VERSION or first.text("kind") != KIND:
            message = f"{first.source} is not a timed pass of this release. Run the sweep again."
            raise DataError(message)
        return cls(
            task=first.need_text("task"),
            batch_size=first.need_integer("batch_size"),
            settings=first.texts("settings"),
            baseline=first.need_text("baseline"),
            sample=first.integers("sample"),
            seed=first.need_integer("seed"),
            precision=first.need_number("precision"),
            budget_s=first.need_number("budget_s"),
            method=first.choice("method", get_args(Method)) or "interleaved",
            identity=first.mapping("identity"),
            blocks=tuple(TimedBlock.from_dict(one) for one in others if "order" in one.values),
            ended_by=others[-1].choice("ended_by", get_args(EndedBy)) if others else None,
        )


def pass_path(folder: Path, of: TimedPass) -> Path:
    """Return the path of a pass's file in the folder of its sweep."""
    task = re.sub(r"[^\w.+-]", "-", of.task)
    return folder / FOLDER / f"{task}-b{of.batch_size}.jsonl"


def timed_pass_files(folder: Path) -> list[Path]:
    """List the files of the timed passes of a sweep, by name."""
    return sorted((folder / FOLDER).glob("*.jsonl"))


def read_timed_passes(folder: Path) -> list[TimedPass]:
    """Return the timed passes of a sweep's folder, by task and batch size; none before the first.

    A line that was cut off by a kill is left out. Raises ``DataError`` for any other damage.
    """
    found = [read_timed_pass(path) for path in timed_pass_files(folder)]
    return sorted((one for one in found if one), key=lambda one: (one.task, one.batch_size))


def read_timed_pass(path: Path) -> TimedPass | None:
    """Return the timed pass of one file; ``None`` if even its first line was cut off.

    Raises what ``read_timed_passes`` raises, and ``OSError``.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    whole: Sequence[bytes] = lines if lines and lines[-1].endswith(b"\n") else lines[:-1]
    if not whole:
        return None
    try:
        parsed = [json.loads(line) for line in whole]
    except (ValueError, RecursionError) as error:
        message = f"{path} is damaged: {error}. Delete it, and run the sweep again."
        raise DataError(message) from error
    if not all(isinstance(one, dict) for one in parsed):
        message = f"{path} holds other lines than objects. Delete it, and run the sweep again."
        raise DataError(message)
    return TimedPass.from_lines(JsonObject(one, str(path)) for one in parsed)
