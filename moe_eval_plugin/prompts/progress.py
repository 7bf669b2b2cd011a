"""What shows how far long work is; the status of a command has these methods too."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shows the progress of work."""

    def doing(self, what: str) -> None:
        """Begin a step that is not counted, such as ``loading the weights``."""

    def counting(self, what: str, total: int, unit: str) -> None:
        """Begin a step of ``total`` units, named in the plural."""

    def advance(self, n: int = 1) -> None:
        """Count units of the current step."""


class NoProgress:
    """Shows nothing."""

    def doing(self, what: str) -> None:
        """Begin nothing."""

    def counting(self, what: str, total: int, unit: str) -> None:
        """Begin nothing."""

    def advance(self, n: int = 1) -> None:
        """Count nothing."""
