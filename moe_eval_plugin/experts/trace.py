"""Trace of an override: each location of k that was set or rejected, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import OverrideError

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoRouterFoundError(OverrideError):
    """The requested k could be set nowhere in the model.

    The attribute ``trace`` lists each place that was examined, and why it was rejected.
    """

    def __init__(self, message: str, trace: Sequence[RouterDecision]) -> None:
        super().__init__(message)
        self.trace = tuple(trace)


@dataclass(frozen=True)
class OverrideTrace:
    """Every location of k that was checked; ``experts_k`` is the requested schedule as text."""

    experts_k: str
    decisions: tuple[RouterDecision, ...]

    @property
    def accepted(self) -> tuple[RouterDecision, ...]:
        """The locations that were set."""
        return tuple(decision for decision in self.decisions if decision.accepted)


@dataclass(frozen=True)
class RouterDecision:
    """Decision about one location that may store k."""

    path: str
    """Path of the module, ``config`` for a configuration, or the name of a Python module."""
    owner: str
    """Name of the class that holds the attribute."""
    attribute: str
    """Name of the attribute, with an index or a key where it has one."""
    value: int
    """The value before anything was set."""
    accepted: bool
    """Whether the location is set."""
    reason: str
    """Why it is set or rejected."""
