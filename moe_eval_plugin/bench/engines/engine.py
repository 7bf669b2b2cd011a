"""The interface of a bench's engine: a loaded model, set to a k, observed and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from moe_eval_plugin.bench.measurement import Observed, Repetition
    from moe_eval_plugin.bench.plan import Workload


class BenchEngine(Protocol):
    """A loaded model, whatever runs it."""

    @property
    def changes_k_live(self) -> bool:
        """Whether k can be changed between two generations at little cost."""

    def at_k(self, experts_k: int | None) -> AbstractContextManager[object]:
        """Set k for the duration of the block; ``None`` leaves the model as it is.

        Raises the errors of ``ExpertSchedule.resolve`` and ``override.apply``.
        """

    def observe(self, workload: Workload) -> Observed:
        """Verify the k that is set and count the experts that tokens use; nothing is timed.

        Raises ``OverrideNotEffectiveError`` if tokens use another k, and
        ``InsufficientMemoryError``.
        """

    def run(self, workload: Workload) -> Repetition:
        """Generate exactly the workload's new tokens for each sequence, and time it.

        Nothing but the clock may watch the model meanwhile. Raises ``InsufficientMemoryError``
        where the batch does not fit; the engine can be used for smaller ones afterwards.
        """

    def energy(self) -> Mapping[str, Any]:
        """Describe the instrument that measures joules as plain data, or why there is none."""
