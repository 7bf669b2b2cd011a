"""What a user chooses of a conversion, and how its progress is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from moe_eval_plugin.option_values import one_of, read_fields, whole

if TYPE_CHECKING:
    from pathlib import Path

LAYOUTS = ("deepseek", "qwen2_moe")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ConversionOptions:
    """Settings of a conversion; a value that is not possible is an ``InvalidArgumentError``."""

    layout: str = "deepseek"
    """The model type to write for a model with experts; default: ``deepseek``."""
    dtype: str | None = None
    """The data type to write; default: each tensor as it is stored."""
    tokenizer: Path | None = None
    """A folder with the files of the tokenizer to copy; default: none is copied."""
    iteration: int | None = None
    """The iteration of a run directory; default: the latest."""
    restart: bool = False
    """Whether an unfinished conversion is deleted and begun again; default: it is continued."""

    def __post_init__(self) -> None:
        """Check the values."""
        readers = {"layout": one_of(*LAYOUTS), "dtype": one_of(*DTYPES), "iteration": whole(0)}
        read_fields(self, readers)


class Progress(Protocol):
    """Shows how far a conversion is."""

    def doing(self, what: str) -> None:
        """Begin a step whose end cannot be counted."""

    def counting(self, what: str, total: int, unit: str = ...) -> None:
        """Begin a step of ``total`` units."""

    def advance(self, n: int = 1, *, earlier: bool = False) -> None:
        """Count units of the step; ``earlier`` for those of an interrupted conversion."""


class Silent:
    """A ``Progress`` that shows nothing."""

    def doing(self, what: str) -> None:
        """Show nothing."""

    def counting(self, what: str, total: int, unit: str = "") -> None:
        """Show nothing."""

    def advance(self, n: int = 1, *, earlier: bool = False) -> None:
        """Show nothing."""


class Megabytes:
    """Counts bytes in a ``Progress``, as megabytes of a million bytes."""

    def __init__(self, progress: Progress, what: str, n_bytes: int) -> None:
        self._progress = progress
        self._n_bytes = 0
        progress.counting(what, _megabytes(n_bytes), "MB")

    def add(self, n_bytes: int, *, earlier: bool = False) -> None:
        """Count bytes."""
        before = _megabytes(self._n_bytes)
        self._n_bytes += n_bytes
        if n := _megabytes(self._n_bytes) - before:
            self._progress.advance(n, earlier=earlier)


def _megabytes(n_bytes: int) -> int:
    return -(-n_bytes // 10**6)
