"""A finished sweep or a single run, as points that can be found again in another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.lmms_eval_files import find_run, read_run
from moe_eval_plugin.sweep.manifest import load_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.run import Run
    from moe_eval_plugin.sweep.manifest import Entry, Manifest

Setting: TypeAlias = tuple[str, str, str]
SINGLE = "run"


@dataclass(frozen=True)
class FinishedPoint:
    """A results file, and which point of a sweep it is.

    ``setting`` is k, policy and renormalisation as text; ``None`` for a run that is no point of a
    sweep. Names of points are not compared: the same point may be called otherwise in another
    sweep, one with more seeds for instance.
    """

    name: str
    run: Run
    setting: Setting | None = None
    seed: int | None = None
    is_baseline: bool = False

    @property
    def key(self) -> tuple[Setting | None, int | None]:
        """What finds the point in another sweep."""
        return self.setting, self.seed


@dataclass(frozen=True)
class Finished:
    """The points that are done, in their order; ``manifest`` is ``None`` for a single run."""

    folder: Path
    points: tuple[FinishedPoint, ...]
    manifest: Manifest | None = None


def read_finished(path: Path) -> Finished:
    """Read the folder of a sweep, or the results file of a single run or the folder with it.

    Of a sweep the points that are done are read. Raises ``DataError`` where there is none of all
    this.
    """
    manifest = load_manifest(path) if path.is_dir() else None
    if manifest is None:
        run = find_run(path)
        return Finished(run.path.parent, (FinishedPoint(SINGLE, run),))
    points = [
        _point(name, entry, read_run(file))
        for name, entry in manifest.entries.items()
        if (file := manifest.results_path(name)) is not None
    ]
    return Finished(path, tuple(points), manifest)


def raise_if_unfinished(manifest: Manifest) -> None:
    """Raise ``DataError`` that names each point that is not done, and why."""
    missing = [
        f"{name}: {_state(entry)}"
        for name, entry in manifest.entries.items()
        if manifest.results_path(name) is None
    ]
    if missing or not manifest.entries:
        lines = "\n  ".join(missing) or "it has no points"
        message = (
            f"The sweep in {manifest.folder} is not finished:\n  {lines}\nRun the same command "
            "again, `moe-eval sweep ... --output` with this folder: it makes what is missing."
        )
        raise DataError(message)


def _state(entry: Entry) -> str:
    if entry.state == "done":
        return f"its results file {entry.results} is gone"
    return f"{entry.state}. {entry.reason}" if entry.reason else entry.state


def _point(name: str, entry: Entry, run: Run) -> FinishedPoint:
    fields = entry.point
    try:
        setting = fields["experts_k"], fields["experts_policy"], fields["renorm"]
        return FinishedPoint(name, run, setting, fields["seed"], bool(fields["is_baseline"]))
    except KeyError as error:
        message = (
            f"The manifest of {run.path} lacks {error} of the point {name}. Sweep into another "
            "folder with this version of moe-eval-plugin."
        )
        raise DataError(message) from error
