"""Find the timed passes that belong to a results file: those of the sweep that it is a point of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.results.timing.timed_pass import read_timed_passes, timed_pass_files

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from moe_eval_plugin.results.timing.timed_pass import TimedPass

# A results file is in FOLDER/POINT/MODEL/.
MOST_FOLDERS_UP = 4
SEED = re.compile(r"-seed\d+$")


@dataclass(frozen=True)
class TimedRun:
    """A results file as a point of a sweep with timed passes."""

    folder: Path
    """Folder of the sweep."""
    point: str
    """Name of the point."""
    passes: tuple[TimedPass, ...]
    """Timed passes of the sweep in which at least one block counts."""

    def passes_of(self, task: str) -> dict[int, TimedPass]:
        """Map batch sizes to the passes of a task in which this point was timed."""
        return {
            one.batch_size: one
            for one in self.passes
            if one.task == task and self.setting_in(one) is not None
        }

    def setting_in(self, one: TimedPass) -> str | None:
        """Return the name under which this point was timed; ``None`` where it was not.

        Of several seeds only one is timed: a seed changes answers, and no speed.
        """
        if self.point in one.settings:
            return self.point
        alike = [name for name in one.settings if _without_seed(name) == _without_seed(self.point)]
        return alike[0] if alike else None


def size_shown(timed: Collection[int], answering: int | None) -> int | None:
    """Return the batch size whose speeds are shown first; ``None`` if none was timed.

    It is that of the answering pass where it was timed, and else the largest.
    """
    return answering if answering in timed else max(timed, default=None)


def find_timed_run(results: Path) -> TimedRun | None:
    """Return what was timed of a results file; ``None`` unless it is of a sweep with timed passes.

    Raises what ``read_timed_passes`` raises.
    """
    path = results.resolve()
    for folder in list(path.parents)[:MOST_FOLDERS_UP]:
        if timed_pass_files(folder):
            counted = [one for one in read_timed_passes(folder) if one.counted]
            return TimedRun(folder, path.relative_to(folder).parts[0], tuple(counted))
    return None


def _without_seed(name: str) -> str:
    return SEED.sub("", name)
