"""The files of schedules and policies that a sweep keeps, so that it can go on without others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.experts.schedules.tuned_file import read_tuned_file
from moe_eval_plugin.files import write_files
from moe_eval_plugin.sweeps.plan import SCHEDULES, SweepPoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
    from moe_eval_plugin.sweeps.manifest import Manifest

# What the arguments of a model are split at, by one host or the other.
SEPARATORS = ",="


def kept_files(points: Iterable[SweepPoint]) -> dict[str, str]:
    """Return the content of the file of each tuned point, by its path in the sweep's folder."""
    return {path: file.text for path, file in _tuned_files(points).items()}


def keep_files(manifest: Manifest, schedules: Iterable[str]) -> None:
    """Write the files of all points of a sweep into its folder; raises ``UserError``.

    ``schedules`` are the values of the option. Points do not have the sensitivities of a file: they
    come from the ``@FILE`` that is the same otherwise, or from the file that was kept before.
    """
    points = [SweepPoint.from_dict(entry.point) for entry in manifest.entries.values()]
    check_folder(manifest.folder, points)
    files = _tuned_files(points)
    given = [_path(value) for value in schedules if value.startswith("@")]
    read = [_file(path) for path in (*given, *(manifest.folder / path for path in files))]
    whole = [file for file in read if file and file.sensitivities]
    if files:
        # Files that differ in their sensitivities alone are equal.
        texts = {
            path: next((one for one in whole if one == file), file).text
            for path, file in files.items()
        }
        write_files(texts, manifest.folder, force=True)


def _tuned_files(points: Iterable[SweepPoint]) -> dict[str, TunedFile]:
    files = {one.tuning.name: one.tuned_file for one in points if one.tuning}
    return {f"{SCHEDULES}/{name}.yaml": file for name, file in files.items() if file}


def _file(path: Path) -> TunedFile | None:
    """Return a file of a schedule or a policy; ``None`` where there is none that can be read."""
    try:
        return read_tuned_file(path)
    except UserError:
        return None


def _path(value: str) -> Path:
    return Path(value.removeprefix("@")).expanduser()


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
    path = _path(value)
    kept = folder / SCHEDULES / path.name
    is_gone = value.startswith("@") and not path.exists()
    return f"@{kept}" if is_gone and kept.is_file() else value
