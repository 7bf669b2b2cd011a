"""Protocols of what shows the steps of a sweep whose model stays in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.verification import VerifiedOverride


class Answered(Protocol):
    """Counts requests as they are answered."""

    def __call__(self, n_requests: int, *, earlier: bool = False) -> object:
        """Count requests; ``earlier`` for those that an interrupted run answered."""


class Progress(Protocol):
    """Shows what the model does at a point."""

    def doing(self, what: str) -> None:
        """Begin a step, such as ``loading the weights``."""

    def verified(self, experts: Mapping[str, VerifiedOverride]) -> None:
        """Show that k was observed as requested, by task; answering begins."""

    def answered(self, n_requests: int, *, earlier: bool = False) -> None:
        """Count requests, as ``Answered`` does."""


class Silent:
    """A ``Progress`` that shows nothing."""

    def doing(self, what: str) -> None:
        """Show nothing."""

    def verified(self, experts: Mapping[str, VerifiedOverride]) -> None:
        """Show nothing."""

    def answered(self, n_requests: int, *, earlier: bool = False) -> None:
        """Show nothing."""
