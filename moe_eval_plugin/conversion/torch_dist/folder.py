"""Find an iteration in a run directory, and files that do not lead out of its folder."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from moe_eval_plugin.errors import (
    BrokenCheckpointError,
    InvalidArgumentError,
    UnsafeCheckpointError,
)
from moe_eval_plugin.text import first_few

TRACKER = "latest_checkpointed_iteration.txt"
METADATA = ".metadata"
BACKENDS = "metadata.json"
COMMON = "common.pt"
RELEASE = "release"
FORMAT = "torch_dist"
# Small files that are read whole.
MOST_JSON_BYTES = 2**20


def find_iteration(path: Path, iteration: int | None = None) -> Path:
    """Return the folder of one iteration: a path to it, or that of a run directory.

    Without ``iteration`` it is the one that the run directory names as its latest, which may be
    ``release``. Raises ``InvalidArgumentError`` if there is no such folder.
    """
    if not path.is_dir():
        message = (
            f"{path} is not a folder. Pass a run directory of Megatron, or an iter_ folder. One of "
            "the Hub is downloaded first: hf download CMU-FLAME/FLAME-MoE-38M-100M --local-dir DIR"
        )
        raise InvalidArgumentError(message)
    if _is_iteration(path):
        if iteration is not None and iteration_number(path) != iteration:
            message = f"{path} is not iteration {iteration}. Pass the run directory above it."
            raise InvalidArgumentError(message)
        return path
    found = path / (_latest(path) if iteration is None else f"iter_{iteration:07d}")
    if not _is_iteration(found):
        raise InvalidArgumentError(_no_iteration(path, found))
    return found


def iteration_number(folder: Path) -> int | None:
    """Return the iteration in the name of a folder; ``None`` for ``release`` and other names."""
    digits = folder.resolve().name.removeprefix("iter_")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def check_format(folder: Path) -> None:
    """Raise ``BrokenCheckpointError`` unless a folder says that it is a torch_dist checkpoint."""
    file = inside(folder, BACKENDS)
    try:
        with file.open("rb") as opened:
            backends = json.loads(opened.read(MOST_JSON_BYTES))
        backend = backends["sharded_backend"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{file} cannot be read. Download or copy the checkpoint again."
        raise BrokenCheckpointError(message) from error
    if backend != FORMAT:
        message = (
            f"{folder} is in the format {backend!r:.80}; only {FORMAT} is read. Save it with "
            f"--ckpt-format {FORMAT} in Megatron."
        )
        raise BrokenCheckpointError(message)


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file of a folder.

    Raises ``UnsafeCheckpointError`` if it leads out of the folder, be it by a link, and
    ``BrokenCheckpointError`` if there is no such file. In a cache of the Hub, where the files are
    links, they may lead to the blobs of the same repository.
    """
    if not name or "\0" in name or name != Path(name).name:
        raise UnsafeCheckpointError(_leaves(folder, name))
    path = folder / name
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(root) for root in _roots(folder)):
        raise UnsafeCheckpointError(_leaves(folder, name))
    try:
        is_file = stat.S_ISREG(real.stat().st_mode)
    except OSError:
        is_file = False
    if not is_file:
        message = f"{path} is missing. Download or copy the checkpoint again."
        raise BrokenCheckpointError(message)
    return path


def _roots(folder: Path) -> list[Path]:
    """Return the folders in which a file may be: the folder, and blobs of the Hub's cache."""
    real = Path(os.path.realpath(folder))
    roots = [real]
    for parent in real.parents:
        blobs = parent.parent / "blobs"
        if parent.name == "snapshots" and parent.parent.name.startswith("models--"):
            roots.append(blobs)
    return roots


def _is_iteration(path: Path) -> bool:
    return (path / BACKENDS).exists() or (path / METADATA).exists()


def _latest(path: Path) -> str:
    if not (path / TRACKER).exists():
        raise InvalidArgumentError(_no_iteration(path, path / TRACKER))
    with inside(path, TRACKER).open("rb") as file:
        text = file.read(100).decode("ascii", "replace").strip()
    if text == RELEASE:
        return text
    if not text.isascii() or not text.isdigit():
        message = (
            f"{path / TRACKER} holds {text!r}, not the number of an iteration. Use --iteration."
        )
        raise BrokenCheckpointError(message)
    return f"iter_{int(text):07d}"


def _no_iteration(path: Path, expected: Path) -> str:
    if (path / "config.json").exists():
        return (
            f"{path} has a config.json: it is in the form of transformers already, and needs no "
            f"conversion. See: moe-eval inspect {path}"
        )
    if path.name.startswith("iter_"):
        return (
            f"{path / METADATA} is not there, so {path} is no checkpoint. Copies often lack it, as "
            "its name begins with a dot: copy the folder as a whole, or download it again."
        )
    found = sorted(one.name for one in path.iterdir() if one.is_dir() and _is_iteration(one))
    there = first_few(found) if found else "no iter_ folder with a checkpoint"
    return (
        f"{expected} is not there. {path} has {there}. Pass a run directory of Megatron with "
        f"{TRACKER}, or one of its iter_ folders."
    )


def _leaves(folder: Path, name: str) -> str:
    return (
        f"{folder} refers to the file {name!r:.200}, which is not in this folder. Nothing was read "
        "from there. Take the checkpoint from its authors; if you linked the file, copy it instead."
    )
