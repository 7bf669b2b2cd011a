"""The file of a timed pass: a line for each block, on the disk before the next one begins."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, MeasurementError
from moe_eval_plugin.files import write_whole
from moe_eval_plugin.results.timing.timed_pass import pass_path, read_timed_pass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from moe_eval_plugin.results.timing.timed_pass import EndedBy, TimedBlock, TimedPass

# The batch size that was asked for, where it did not fit into the memory.
ASKED = "batch_size_asked"
# A digest of the machine that times: a bundle has this file, and names no host.
MACHINE = "machine"
WHEN_IT_ENDS = ("precision", "budget_s", "ended_by")


class PassFile:
    """A timed pass on disk. What an earlier process timed of the same pass is kept.

    ``wanted`` is the pass without blocks. The same pass has the same settings, sample, batch size
    and identity; when it ends may differ, and then it goes on. Any other file is replaced.
    """

    def __init__(self, folder: Path, wanted: TimedPass) -> None:
        self._path = pass_path(folder, wanted)
        known = stored_pass(self._path)
        if known is None or not is_same(known, wanted):
            known = wanted
        changed = any(getattr(known, name) != getattr(wanted, name) for name in WHEN_IT_ENDS[:-1])
        self.found = replace(
            wanted, blocks=known.blocks, ended_by=None if changed else known.ended_by
        )
        self._write()

    def append(self, block: TimedBlock) -> None:
        """Add a block; it is on the disk when this returns."""
        self._append(block.to_dict())
        self.found = replace(self.found, blocks=(*self.found.blocks, block))

    def end(self, ended_by: EndedBy) -> None:
        """Add why the pass ended."""
        self._append({"ended_by": ended_by})
        self.found = replace(self.found, ended_by=ended_by)

    def _append(self, content: Mapping[str, Any]) -> None:
        with self._path.open("ab") as file:
            file.write(json.dumps(content).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _write(self) -> None:
        """Write what is known, whole: without a line that was cut off, or of another pass."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = [self.found.header(), *(block.to_dict() for block in self.found.blocks)]
        if self.found.ended_by is not None:
            lines.append({"ended_by": self.found.ended_by})
        write_whole(self._path, "".join(json.dumps(line) + "\n" for line in lines))


def stored_pass(path: Path) -> TimedPass | None:
    """Return the pass of a file; ``None`` where there is none, or it cannot be read."""
    try:
        return read_timed_pass(path)
    except (OSError, DataError, MeasurementError):
        return None


def is_same(known: TimedPass, wanted: TimedPass, *, on_any_machine: bool = False) -> bool:
    """Whether blocks of one pass may be counted in the other.

    With ``on_any_machine`` it does not matter which machine times them.
    """
    others = (ASKED, MACHINE) if on_any_machine else (ASKED,)
    return _what_it_times(known, others) == _what_it_times(wanted, others)


def _what_it_times(one: TimedPass, others: Collection[str]) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(json.dumps(one.header()))
    for name in others:
        header["identity"].pop(name, None)
    return {name: value for name, value in header.items() if name not in WHEN_IT_ENDS}
