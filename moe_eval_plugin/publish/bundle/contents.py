"""Collect what a bundle holds: the files of a finished run, and how it was made."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.files import sha256_of
from moe_eval_plugin.hosts.harness import LM_EVAL
from moe_eval_plugin.model_name import DEMO, is_folder
from moe_eval_plugin.publish.bundle.commands import run_command, sweep_commands, tuned_file_of
from moe_eval_plugin.publish.bundle.description import (
    RUN,
    SWEEP,
    BundleDescription,
    Checkpoint,
)
from moe_eval_plugin.publish.bundle.environment import locked_versions
from moe_eval_plugin.publish.bundle.finished import raise_if_unfinished, read_finished
from moe_eval_plugin.results.samples import failure_note, find_faults
from moe_eval_plugin.results.setup import Setup
from moe_eval_plugin.results.timing.timed_pass import timed_pass_files
from moe_eval_plugin.sweeps.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.publish.bundle.finished import Finished
    from moe_eval_plugin.results.run import Run

# The folder within a bundle that holds the files of the run, under their own paths.
FILES = "run"
CHECKSUM_FILES = ("config.json", "*.safetensors.index.json")


@dataclass(frozen=True)
class Contents:
    """Files of a bundle, by their names in it, and its description.

    ``texts`` are files that are written from the results: those of schedules and policies.
    """

    files: Mapping[str, Path]
    description: BundleDescription
    texts: Mapping[str, str] = field(default_factory=dict)


def collect(path: Path, lock: str) -> Contents:
    """Collect the files of a sweep or a run, and describe how it was made.

    ``lock`` is the current environment (``environment.lock_text``). Raises ``DataError`` for a
    sweep that is not finished, and if there is no run.
    """
    finished = read_finished(path)
    if finished.manifest is not None:
        raise_if_unfinished(finished.manifest)
    files = dict(_files(finished))
    run = finished.points[0].run
    setup = _setup(run)
    checkpoint = _checkpoint(finished, run)
    description = BundleDescription(
        of=SWEEP if finished.manifest else RUN,
        made=_made(finished),
        commands=_commands(finished),
        checkpoint=checkpoint,
        points={
            point.name: _name_in_bundle(point.run.path, finished.folder)
            for point in finished.points
        },
        host_commands={point.name: run_command(point.run) for point in finished.points},
        versions=setup.versions,
        git_hash=run.code_revision,
        python=platform.python_version(),
        machine=setup.values.get("hardware"),
        warnings=tuple(_warnings(finished, checkpoint, lock)),
        host=run.host,
    )
    tuned = [tuned_file_of(point.run) for point in finished.points]
    return Contents(files, description, dict(one for one in tuned if one is not None))


def _commands(finished: Finished) -> list[list[str]]:
    if finished.manifest is not None:
        return sweep_commands(finished.manifest, finished.timed)
    return [run_command(finished.points[0].run)]


def _files(finished: Finished) -> Iterator[tuple[str, Path]]:
    """Yield each file with its name in the bundle."""
    if finished.manifest is not None:
        yield f"{FILES}/{MANIFEST}", finished.folder / MANIFEST
        for path in timed_pass_files(finished.folder):
            yield _name_in_bundle(path, finished.folder), path
    for point in finished.points:
        yield _name_in_bundle(point.run.path, finished.folder), point.run.path
        for task in point.run.tasks:
            if task.samples is not None:
                yield _name_in_bundle(task.samples, finished.folder), task.samples


def _name_in_bundle(path: Path, folder: Path) -> str:
    try:
        return f"{FILES}/{path.resolve().relative_to(folder.resolve()).as_posix()}"
    except ValueError as error:
        message = (
            f"{path} is outside {folder}, so it cannot be packed with it. Move the results into "
            "the folder of the sweep, or sweep into a new folder."
        )
        raise DataError(message) from error


def _made(finished: Finished) -> str | None:
    """Return when the run began: equal in each bundle of it, unlike the time of packing."""
    if finished.manifest is None:
        run = finished.points[0].run
        if run.host == LM_EVAL and run.date is not None:  # it writes seconds since 1970
            return run.date.isoformat(timespec="seconds")
        return run.date_text
    began = [entry.began for entry in finished.manifest.entries.values() if entry.began]
    return min(began, default=None)


def _checkpoint(finished: Finished, run: Run) -> Checkpoint:
    """Describe the checkpoint; of a local folder, with checksums of its small files."""
    settings = finished.manifest.settings if finished.manifest else {}
    folder = Path(os.path.expanduser(run.checkpoint))  # noqa: PTH111  (that of pathlib may raise)
    is_local = run.checkpoint != DEMO and is_folder(str(folder))
    patterns = CHECKSUM_FILES if is_local else ()
    return Checkpoint(
        pretrained=run.checkpoint,
        revision=settings.get("model revision") or _setup(run).revision,
        is_local_folder=is_local,
        sha256={
            file.name: sha256_of(file)
            for pattern in patterns
            for file in sorted(folder.glob(pattern))
        },
    )


def _warnings(finished: Finished, checkpoint: Checkpoint, lock: str) -> Iterator[str]:
    """Yield each reason why the run will be hard to reproduce."""
    yield from _sample_warnings(finished)
    run = finished.points[0].run
    if checkpoint.is_local_folder:
        yield (
            f"The checkpoint {checkpoint.pretrained} is a local folder and not in the bundle. "
            "Publish it too; others pass their copy with `moe-eval reproduce --pretrained`."
        )
    if run.include_path:
        yield (
            f"The task definitions in {run.include_path} (--include_path) are not in the "
            "bundle. Publish them too."
        )
    now = locked_versions(lock)
    changed = [
        f"{name} {version} -> {now.get(name, 'absent')}"
        for name, version in _setup(run).versions.items()
        if version is not None and now.get(name) != version
    ]
    if changed:
        yield (
            "requirements.txt lists the current environment, and packages changed since the run: "
            f"{', '.join(changed)}. Pack in the environment of the run."
        )


def _sample_warnings(finished: Finished) -> Iterator[str]:
    for point in finished.points:
        for task in point.run.tasks:
            if task.samples is None:
                yield (
                    f"{point.name} has no samples of {task.task}, so its accuracy cannot be "
                    "compared question by question. Run with --log_samples."
                )
                continue
            with task.samples.open("rb") as lines:
                n_lines = sum(1 for _ in lines)
            # lm-eval writes a line for each filter of a question.
            n_expected = (task.n_samples or 0) * max(1, len(task.filters))
            if n_lines < n_expected:
                yield (
                    f"{task.samples.name} of {point.name} has {n_lines:,} of {n_expected:,} "
                    "samples: it may have been cut off."
                )
            faults = find_faults(task)
            if faults and faults.failed:
                note = failure_note(len(faults.failed), task.n_samples)
                yield f"{point.name}, {task.task}: {note}"


def _setup(run: Run) -> Setup:
    return run.setup or Setup()
