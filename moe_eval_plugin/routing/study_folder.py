"""The folder of a routing study: what may be there before, and its files, all of them or none."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

STUDY, PAGE = "routing.json", "index.html"
TRACES, OTHER_TRACES = "traces", "traces-against"
STATISTICS, PLOTS = "statistics", "plots"
ENTRIES = (TRACES, OTHER_TRACES, STATISTICS, PLOTS, STUDY, PAGE)
KIND = "routing"
SCHEMA_VERSION = 1
STAGING = ".staging-"


def check_folder(folder: Path) -> None:
    """Raise ``InvalidArgumentError`` unless a study can be written to a folder.

    It must be new, empty, or have an earlier study, which is replaced.
    """
    if folder.exists() and not folder.is_dir():
        message = f"--output {folder} is a file. Pass a folder."
        raise InvalidArgumentError(message)
    if folder.is_dir() and any(folder.iterdir()) and not is_study(folder):
        message = (
            f"--output {folder} is not empty, and moe-eval routing did not write it. Pass a new or "
            "empty folder, or that of an earlier study, which is replaced."
        )
        raise InvalidArgumentError(message)


def is_study(folder: Path) -> bool:
    """Whether a folder has a routing study."""
    try:
        content = json.loads((folder / STUDY).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


@contextmanager
def study_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose entries replace those of ``folder`` after the block.

    After an exception ``folder`` is as it was; other files in it are never touched. Raises
    ``DataError`` if something cannot be written.
    """
    try:
        missing = _make(folder)
        staging = Path(mkdtemp(prefix=STAGING, dir=folder))
    except OSError as error:
        raise _not_written(folder, error) from error
    is_done = False
    try:
        yield staging
        _replace(staging, folder)
        is_done = True
    except OSError as error:
        raise _not_written(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for path in [] if is_done else missing:
            path.rmdir()


def _not_written(folder: Path, error: OSError) -> DataError:
    message = f"{folder} cannot be written: {error}. Pass another folder with --output."
    return DataError(message)


def _make(folder: Path) -> list[Path]:
    """Make a folder, and return what was not there, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _replace(staging: Path, folder: Path) -> None:
    """Move finished entries to a folder, and those that were there before away."""
    earlier = staging / "earlier"
    earlier.mkdir()
    with ExitStack() as undo:
        for name in ENTRIES:
            if (folder / name).exists():
                (folder / name).rename(earlier / name)
                undo.callback(os.rename, earlier / name, folder / name)
        for name in ENTRIES:
            if (staging / name).exists():
                (staging / name).rename(folder / name)
                undo.callback(os.rename, folder / name, staging / name)
        undo.pop_all()
