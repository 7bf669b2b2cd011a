"""Store each answered batch of a point on disk: a killed sweep loses one batch at most.

lmms-eval's cache of responses stores them once all requests of a run are answered, and without
their tokens. A journal has a line for each batch, written to the disk before the next batch begins:
its answers, and its times as they were measured. The first line identifies the point; a journal of
another point, of other settings or of another machine is replaced.
"""

from __future__ import annotations

import operator
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.request import Generated
from moe_eval_plugin.errors import DataError, MeasurementError
from moe_eval_plugin.files import JsonLines
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.timing import BatchTiming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA_VERSION = 1
JOURNALS = "journal"


@dataclass(frozen=True)
class Batch:
    """A batch that was answered: ``indices`` are the positions of its requests.

    ``process`` identifies the journal object that stored it, and so the run that answered it.
    """

    indices: tuple[int, ...]
    answers: tuple[Generated, ...]
    timing: BatchTiming
    process: str


class Journal:
    """The batches of one point on disk; ``identity`` is what its numbers depend on."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        # A process id would be used again, on another day or in another container.
        self.process = uuid.uuid4().hex
        self._lines = JsonLines(path, {"schema_version": SCHEMA_VERSION, **identity})
        self._batches: dict[tuple[int, ...], Batch] = {}
        self._n_from: dict[int, int] = {}
        for batch in self._lines.read(_batch):
            self._keep(batch)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """Return the batch of exactly these requests, if it was answered."""
        return self._batches.get(tuple(indices))

    def was_halved(self, indices: Sequence[int]) -> bool:
        """Whether a smaller batch begins with the first of these, since all did not fit."""
        n = self._n_from.get(indices[0])
        return n is not None and n < len(indices)

    def append(self, batch: Batch) -> None:
        """Add a batch; it is on the disk when this returns."""
        self._lines.append([asdict(batch)])
        self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        self._batches[batch.indices] = batch
        self._n_from[batch.indices[0]] = len(batch.indices)


def journal_path(folder: Path, point: str) -> Path:
    """Return the path of a point's journal in the folder of its sweep."""
    return folder / JOURNALS / f"{point}.jsonl"


def _batch(content: Mapping[str, Any]) -> Batch | None:
    """Read the batch of a line; ``None`` for a damaged one."""
    try:
        batch = Batch(
            indices=tuple(map(operator.index, content["indices"])),
            answers=tuple(Generated(**answer) for answer in content["answers"]),
            timing=BatchTiming.from_dict(JsonObject(content["timing"])),
            process=content["process"],
        )
    except (AttributeError, KeyError, TypeError, ValueError, DataError, MeasurementError):
        return None
    return batch if 0 < len(batch.indices) == len(batch.answers) else None
