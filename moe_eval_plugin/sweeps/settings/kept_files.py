"""The files of schedules and policies that a sweep keeps, so that it can go on without others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.files import write_files
from moe_eval_plugin.sweeps.plan import SCHEDULES, SweepPoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moe_eval_plugin.sweeps.manifest import Manifest

# What the arguments of a model are split at, by one host or the other.
SEPARATORS = ",="


def kept_files(points: Iterable[SweepPoint]) -> dict[str, str]:
    """Return the content of the file of each tuned point, by its path in the sweep's folder."""
    files = {one.tuning.name: one.tuned_file for one in points if one.tuning}
    return {f"{SCHEDULES}/{name}.yaml": file.text for name, file in files.items() if file}


def keep_files(manifest: Manifest) -> None:
    """Write the files of all points of a sweep into its folder; raises ``UserError``."""
    points = [SweepPoint.from_dict(entry.point) for entry in manifest.entries.values()]
    check_folder(manifest.folder, points)
    if files := kept_files(points):
        write_files(files, manifest.folder, force=True)


def check_folder(folder: Path, points: Iterable[SweepPoint]) -> None:
    """Raise ``InvalidArgumentError`` for a folder whose path no argument of a model can have.

    Points without a file may have any folder.
    """
    tuned = next((one.tuning.name for one in points if one.tuning), None)
    if tuned is not None and any(one in str(folder) for one in SEPARATORS):
        message = (
            f"--output {folder} has a comma or an equals sign, at which the host splits its "
            f"arguments, and the file of {tuned} is named in them. Choose another folder."
        )
        raise InvalidArgumentError(message)


def with_kept_files(values: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Return values of an option with the sweep's own copy of each ``@FILE`` that is gone.

    A sweep that was moved, or whose files were, goes on with what it keeps in its ``folder``.
    """
    return tuple(_with_kept_file(value, folder) for value in values)


def _with_kept_file(value: str, folder: Path) -> str:
    path = Path(value.removeprefix("@")).expanduser()
    kept = folder / SCHEDULES / path.name
    is_gone = value.startswith("@") and not path.exists()
    return f"@{kept}" if is_gone and kept.is_file() else value
