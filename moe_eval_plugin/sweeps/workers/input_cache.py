"""Keep encoded inputs in memory, so that each k gets the very same tensors."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.hardware.memory import free_ram_bytes
from moe_eval_plugin.text import GIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.batches.preparing import Prepared
    from moe_eval_plugin.engines.transformers.encoding import Encoded

SHARE_OF_FREE_RAM = 0.25


class InputCache:
    """Keeps prepared batches up to a limit in bytes; beyond it they are prepared again.

    A batch is identified by the task and the positions of its requests.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: dict[tuple[tuple[str, int], ...], Prepared] = {}
        self._n_bytes = 0
        self._is_full = False

    @property
    def is_full(self) -> bool:
        """Whether a batch exceeded the limit."""
        return self._is_full

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensors that are kept."""
        return self._n_bytes

    def prepare(self, jobs: Sequence[Job], encode: Callable[[Sequence[Job]], Prepared]) -> Prepared:
        """Return a batch from memory, with the seconds that encoding took when it was prepared."""
        key = tuple((job.task, job.index) for job in jobs)
        kept = self._kept.get(key)
        if kept is None:
            kept = encode(jobs)
            size = _n_bytes(kept.encoded)
            if self._n_bytes + size > self._limit_bytes:
                self._is_full = True
                return kept
            self._kept[key] = kept
            self._n_bytes += size
        return replace(kept, jobs=jobs, encoded=_for_one_use(kept.encoded))


def limit_bytes(gib: float | None) -> int:
    """Convert a limit in GiB to bytes; ``None`` stands for a quarter of the free RAM."""
    return int(free_ram_bytes() * SHARE_OF_FREE_RAM if gib is None else gib * GIB)


def _for_one_use(encoded: Encoded) -> Encoded:
    """Copy the mapping, not its tensors: moving it to a device changes it in place."""
    return replace(encoded, tensors=copy.copy(encoded.tensors))


def _n_bytes(encoded: Encoded) -> int:
    n_layout = 0 if encoded.layout is None else encoded.layout.nbytes
    return n_layout + sum(getattr(tensor, "nbytes", 0) for tensor in encoded.tensors.values())
