"""``Exporter``: a file format for finished runs, and ``Exported``, the files that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.results.run import Run


@dataclass(frozen=True)
class Exported:
    """The files that an exporter made, and notes for the user.

    Example::

        Exported({"tables/tasks.txt": "okvqa"}, notes=("One task was written.",))
    """

    files: Mapping[str, str]
    """The text of each file, by its name. It may have folders, but not lead out of the output."""
    notes: tuple[str, ...] = ()
    """Lines that the command prints after it has written the files."""


@dataclass(frozen=True)
class Exporter:
    """A file format for ``moe-eval export``.

    Example::

        def export(runs, task):
            names = [one.task for run in runs for one in run.tasks if task in (None, one.task)]
            return Exported({"tasks.txt": " ".join(names)})

        Exporter("task-list", "tasks.txt, the names of the tasks", export)
    """

    name: str
    """Name of the format, for ``--format NAME``."""
    summary: str
    """What the format contains, for the list of formats."""
    export: Callable[[Sequence[Run], str | None], Exported]
    """Function of the runs and of the requested task (``None`` for all); returns ``Exported``.

    Raise ``DataError`` if the runs lack something that the format needs.
    """
