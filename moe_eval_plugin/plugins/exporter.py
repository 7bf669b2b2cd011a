"""``Exporter``: a file format for finished runs, and ``Exported``, what it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.results.run import Run


@dataclass(frozen=True)
class Exported:
    """What an exporter made: the text of each file by its name, and what there is to say.

    A name may lead into folders, as in ``results/run.json``; it never leads out.
    """

    files: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exporter:
    """A file format.

    ``name`` stands behind ``--format`` and ``summary`` in its help. ``export`` takes the runs and
    the task that was asked for, ``None`` for all of them, and raises ``DataError`` if the runs
    lack something that the format needs.
    """

    name: str
    summary: str
    export: Callable[[Sequence[Run], str | None], Exported]
