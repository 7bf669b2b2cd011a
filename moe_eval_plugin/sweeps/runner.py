"""Run the points of a sweep that are not done yet, and record each step in the manifest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.sweeps.manifest import LOCK, Manifest, differences, load_manifest
from moe_eval_plugin.sweeps.plan import NEWER
from moe_eval_plugin.sweeps.workers.journal import journal_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.sweeps.launchers.launcher import Launcher, Outcome, Worker
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint

STALE = ".stale"


def open_manifest(
    folder: Path,
    plan: SweepPlan,
    settings: Mapping[str, Any],
    *,
    restart: bool,
    command: tuple[str, ...] = (),
    changed_files: Sequence[str] = (),
) -> Manifest:
    """Read the manifest of a folder, or begin one; the lock of the folder must be held.

    ``command`` repeats the sweep; an empty one keeps what the manifest has. ``changed_files`` are
    the files of the data whose content changed, for the message. Points that are done
    are kept if everything that their numbers depend on is as it was. Otherwise nothing is mixed
    and nothing is deleted: ``UserError`` lists what changed, and with ``restart`` everything in
    the folder is moved to ``FOLDER.stale``.
    """
    found = load_manifest(folder)
    if found is None:
        refuse_foreign(folder, plan)
        found = Manifest(folder, settings)
    changed = changes(found, plan, settings)
    if changed and found.has_done:
        if not restart:
            raise UserError(changed_text(folder, [*changed, *_files_text(changed_files)]))
        _set_aside(folder)
    if changed:
        found = Manifest(folder, settings)
    found.take_points(plan.points)
    found.command = command or found.command
    found.save()
    return found


def run_points(
    plan: SweepPlan,
    manifest: Manifest,
    launcher: Launcher,
    worker: Worker,
    changed_files: Callable[[], list[str]] = list,
    begins: Callable[[SweepPoint], object] = lambda _: None,
) -> Iterator[Outcome]:
    """Run what is not done, and yield each outcome once it is in the manifest.

    ``begins`` is called with each point before it starts.
    ``changed_files`` lists the files of the data whose content changed since the sweep began. A
    point that ends after such a change has failed: it may have seen both. An error that every point
    would meet is raised, once the points that were running are in the manifest as failed.
    """
    try:
        for ended_now in launcher.run(pending(plan, manifest), worker, _begins(manifest, begins)):
            changed = changed_files() if ended_now.results else []
            outcome = replace(ended_now, **_failed_by(changed)) if changed else ended_now
            _record(manifest, outcome)
            yield outcome
    except UserError as error:
        for name, entry in list(manifest.entries.items()):
            if entry.state == "running":
                manifest.change(name, replace(entry, state="failed", reason=str(error)))
        raise


def _record(manifest: Manifest, outcome: Outcome) -> None:
    results = outcome.results
    ended = replace(
        manifest.entry(outcome.point.name),
        state="failed" if results is None else "done",
        results=str(results.relative_to(manifest.folder)) if results else None,
        reason=outcome.reason,
        seconds=round(outcome.seconds, 3),
    )
    manifest.change(outcome.point.name, ended)
    if results is not None:
        journal_path(manifest.folder, outcome.point.name).unlink(missing_ok=True)


def _failed_by(changed: Sequence[str]) -> dict[str, Any]:
    (text,) = _files_text(changed)
    return {"results": None, "reason": f"the data changed while the sweep ran: {text}"}


def pending(plan: SweepPlan, manifest: Manifest) -> list[SweepPoint]:
    """List the points that are not done, in the order of the plan."""
    return [point for point in plan.points if manifest.entry(point.name).state != "done"]


def _begins(
    manifest: Manifest, begins: Callable[[SweepPoint], object]
) -> Callable[[SweepPoint], None]:
    def begin(point: SweepPoint) -> None:
        begins(point)
        # A killed process leaves incomplete files.
        shutil.rmtree(manifest.folder / point.name, ignore_errors=True)
        manifest.change(point.name, manifest.entry(point.name).begin())

    return begin


def changes(found: Manifest, plan: SweepPlan, settings: Mapping[str, Any]) -> list[str]:
    """List what differs from when the points of a manifest were run, as ``name: old -> new``.

    A setting that the manifest does not have was not recorded when it was begun, and is not
    compared.
    """
    before = {**NEWER, **found.settings}
    now = {name: value for name, value in {**NEWER, **settings}.items() if name in before}
    changed = differences(before, now)
    if changed:
        return changed
    settings = {name: value for name, value in settings.items() if name in found.settings}
    for point in plan.points:
        known = found.entries.get(point.name)
        if known is not None and known.digest != point.digest(settings):
            changed.append(f"{point.name}: {_changed_point(known.point, point.to_dict())}")
    return changed


def _changed_point(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs in a point: of the record of a tuned file, which may be long, names."""
    old, new = ({**one, "tuning": one.get("tuning") or {}} for one in (before, now))
    found = differences(old.pop("tuning"), new.pop("tuning"))
    if old != new or not found:
        return f"{old} -> {new}"
    names = ", ".join(one.partition(":")[0] for one in found)
    return f"its file says otherwise how it was found: {names}"


def _files_text(changed: Sequence[str]) -> list[str]:
    if not changed:
        return []
    return [f"files of the data with other content: {len(changed):,}, the first: {changed[0]}"]


def changed_text(folder: Path, changed: Sequence[str]) -> str:
    """Return the message for a folder whose results were made with other settings."""
    lines = "\n  ".join(changed)
    return (
        f"{folder} holds results that were made with other settings, and results are never mixed. "
        f"What changed:\n  {lines}\nRepeat the earlier command, pass another folder with --output, "
        f"or start over with --restart: old results move to {folder.name}{STALE}."
    )


def refuse_foreign(folder: Path, plan: SweepPlan) -> None:
    """Raise ``UserError`` if a folder with the name of a point exists without a manifest."""
    for point in plan.points:
        if (folder / point.name).exists():
            message = (
                f"{folder / point.name} exists, but {folder} has no manifest of a sweep, so it may "
                "hold something else. Pass another folder with --output."
            )
            raise UserError(message)


def _set_aside(folder: Path) -> None:
    """Move everything but the lock out of the folder, where no report of it will look."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    target = folder.resolve().with_name(f"{folder.resolve().name}{STALE}") / now
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name != LOCK:
            path.rename(target / path.name)
