"""Read a finished sweep or a single run as points that can be matched with another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files import find_run, read_run
from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.sweeps.plan import SweepPoint

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.run import Run
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.manifest import Entry, Manifest

Setting: TypeAlias = tuple[str, str, str]
SINGLE = "run"


@dataclass(frozen=True)
class FinishedPoint:
    """One results file of a sweep, or a single run."""

    name: str
    """Name of its folder. Names are not compared: another sweep may name the same point
    differently, one with more seeds for instance."""
    run: Run
    """Content of the results file."""
    setting: Setting | None = None
    """k, policy and renormalisation as text; ``None`` for a single run."""
    seed: int | None = None
    """Seed of the model; ``None`` if none was set."""
    is_baseline: bool = False
    """Whether it is the published k."""

    @property
    def key(self) -> tuple[Setting | None, int | None]:
        """Setting and seed, by which the point is matched with one of another sweep."""
        return self.setting, self.seed


@dataclass(frozen=True)
class Finished:
    """The points that are done, in order, and their timed passes.

    ``manifest`` is ``None`` for a single run.
    """

    folder: Path
    points: tuple[FinishedPoint, ...]
    manifest: Manifest | None = None
    timed: tuple[TimedPass, ...] = ()


def read_finished(path: Path) -> Finished:
    """Read the folder of a sweep, a results file, or a folder that holds one.

    Of a sweep, the points that are done are read. Raises ``DataError`` if ``path`` has none of
    these.
    """
    manifest = load_manifest(path) if path.is_dir() else None
    if manifest is None:
        run = find_run(path)
        return Finished(run.path.parent, (FinishedPoint(SINGLE, run),))
    points = [
        _finished_point(name, entry, read_run(file))
        for name, entry in manifest.entries.items()
        if (file := manifest.results_path(name)) is not None
    ]
    return Finished(path, tuple(points), manifest, tuple(read_timed_passes(path)))


def raise_if_unfinished(manifest: Manifest) -> None:
    """Raise ``DataError`` if a point is not done; it lists each, with the reason."""
    missing = [
        f"{name}: {_state(entry)}"
        for name, entry in manifest.entries.items()
        if manifest.results_path(name) is None
    ]
    if missing or not manifest.entries:
        lines = "\n  ".join(missing) or "it has no settings"
        message = (
            f"The sweep in {manifest.folder} is not finished:\n  {lines}\nRun the same command "
            "again, `moe-eval sweep ... --output` with this folder: it runs what is missing."
        )
        raise DataError(message)


def _state(entry: Entry) -> str:
    if entry.state == "done":
        return f"its results file {entry.results} is missing"
    return f"{entry.state}. {entry.reason}" if entry.reason else entry.state


def sweep_point(entry: Entry) -> SweepPoint:
    """Return a point of a sweep as its manifest records it; raises ``DataError``."""
    try:
        return SweepPoint.from_dict(entry.point)
    except TypeError as error:
        message = (
            f"The manifest of the sweep records a setting as {dict(entry.point)}, which this "
            "version of moe-eval-plugin cannot read. Sweep into another folder with this version."
        )
        raise DataError(message) from error


def setting_of(point: SweepPoint) -> Setting:
    """Return k, policy and renormalisation of a point, as text."""
    return point.experts_k, point.experts_policy, point.renorm


def _finished_point(name: str, entry: Entry, run: Run) -> FinishedPoint:
    point = sweep_point(entry)
    return FinishedPoint(name, run, setting_of(point), point.seed, point.is_baseline)
