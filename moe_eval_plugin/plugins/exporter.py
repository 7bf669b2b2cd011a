"""``Exporter``: a file format for finished runs, and ``Exported``, the files that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.results.run import Run


@dataclass(frozen=True)
class Exported:
    """Files that an exporter made, and notes for the user."""

    files: Mapping[str, str]
    """Text of each file by its name, which may lead into folders but never out of the output."""
    notes: tuple[str, ...] = ()
    """Lines that the command prints after the files are written."""


@dataclass(frozen=True)
class Exporter:
    """A file format for ``moe-eval export``."""

    name: str
    """Name of the format in ``--format NAME``."""
    summary: str
    """What the format holds, for the list of formats."""
    export: Callable[[Sequence[Run], str | None], Exported]
    """Maps the runs and the requested task (``None``: all tasks) to files.

    Raises ``DataError`` if the runs lack something that the format needs.
    """
