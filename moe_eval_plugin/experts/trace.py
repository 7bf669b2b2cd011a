"""Trace of an override: each router that was set or rejected, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import OverrideError

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoRouterFoundError(OverrideError):
    """No module of the model could be set to the k asked for.

    ``trace`` holds each module that was looked at and why it was rejected.
    """

    def __init__(self, message: str, trace: Sequence[RouterDecision]) -> None:
        super().__init__(message)
        self.trace = tuple(trace)


@dataclass(frozen=True)
class OverrideTrace:
    """Every place that was looked at while k was set; ``experts_k`` is the schedule asked for."""

    experts_k: str
    decisions: tuple[RouterDecision, ...]

    @property
    def accepted(self) -> tuple[RouterDecision, ...]:
        """The places that were set."""
        return tuple(decision for decision in self.decisions if decision.accepted)


@dataclass(frozen=True)
class RouterDecision:
    """One place that might hold k: what it was, and why it was set or left alone.

    ``path`` is the module's path in the model, ``config`` for a configuration object, or the
    name of a Python module; ``value`` is what stood there before.
    """

    path: str
    owner: str
    attribute: str
    value: int
    accepted: bool
    reason: str
