"""Runs a sweep: the points that are not done yet, each step written into the manifest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.sweep.manifest import LOCK, Manifest, differences, load_manifest
from moe_eval_plugin.sweep.workers.journal import journal_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from moe_eval_plugin.sweep.launchers.launcher import Launcher, Outcome, Work
    from moe_eval_plugin.sweep.plan import SweepPlan, SweepPoint

STALE = ".stale"


def open_manifest(
    folder: Path, plan: SweepPlan, settings: Mapping[str, Any], *, restart: bool
) -> Manifest:
    """Read the manifest of a folder, or begin one; the lock of the folder must be held.

    Points that are done are kept if everything that their numbers depend on is as it was. Where it
    is not, nothing is mixed and nothing is thrown away: ``UserError`` lists what changed, and with
    ``restart`` all that is there is moved into a folder beside this one.
    """
    found = load_manifest(folder)
    if found is None:
        _refuse_foreign(folder, plan)
        found = Manifest(folder, settings)
    changed = changes(found, plan, settings)
    if changed and found.has_done:
        if not restart:
            raise UserError(_changed_text(folder, changed))
        _set_aside(folder)
    if changed:
        found = Manifest(folder, settings)
    found.take_points(plan.points)
    found.save()
    return found


def run_points(
    plan: SweepPlan, manifest: Manifest, launcher: Launcher, work: Work
) -> Iterator[Outcome]:
    """Run what is not done, and yield each point once its end is in the manifest."""
    for outcome in launcher.run(pending(plan, manifest), work, _begins(manifest)):
        entry = manifest.entry(outcome.point.name)
        results = outcome.results
        ended = replace(
            entry,
            state="failed" if results is None else "done",
            results=str(results.relative_to(manifest.folder)) if results else None,
            reason=outcome.reason,
            seconds=round(outcome.seconds, 3),
        )
        manifest.change(outcome.point.name, ended)
        if results is not None:
            journal_path(manifest.folder, outcome.point.name).unlink(missing_ok=True)
        yield outcome


def pending(plan: SweepPlan, manifest: Manifest) -> list[SweepPoint]:
    """List the points that are not done, in the order of the plan."""
    return [point for point in plan.points if manifest.entry(point.name).state != "done"]


def _begins(manifest: Manifest) -> Callable[[SweepPoint], None]:
    def begin(point: SweepPoint) -> None:
        # What a killed process left there is not complete.
        shutil.rmtree(manifest.folder / point.name, ignore_errors=True)
        manifest.change(point.name, manifest.entry(point.name).begin())

    return begin


def changes(found: Manifest, plan: SweepPlan, settings: Mapping[str, Any]) -> list[str]:
    """List what is not as it was when the points of a manifest were made."""
    changed = differences(found.settings, settings)
    if changed:
        return changed
    for point in plan.points:
        known = found.entries.get(point.name)
        if known is not None and known.digest != point.digest(settings):
            changed.append(f"{point.name}: {dict(known.point)} -> {point.to_dict()}")
    return changed


def _changed_text(folder: Path, changed: list[str]) -> str:
    lines = "\n  ".join(changed)
    return (
        f"{folder} holds points that were made with other settings, and numbers are never mixed. "
        f"What changed:\n  {lines}\nRepeat the command as it was, name another folder with "
        f"--output, or add --restart: it moves what is there to {folder.name}{STALE} beside it, "
        "and begins anew."
    )


def _refuse_foreign(folder: Path, plan: SweepPlan) -> None:
    """Leave folders alone that bear the name of a point and are not of a sweep."""
    for point in plan.points:
        if (folder / point.name).exists():
            message = (
                f"{folder / point.name} exists, and {folder} has no manifest of a sweep, so it is "
                "not known what it is. Name another folder with --output."
            )
            raise UserError(message)


def _set_aside(folder: Path) -> None:
    """Move all but the lock out of the folder, where no report of this sweep will find it."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    target = folder.resolve().with_name(f"{folder.resolve().name}{STALE}") / now
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name != LOCK:
            path.rename(target / path.name)
