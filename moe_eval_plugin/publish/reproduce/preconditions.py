"""Compare this environment and machine with those of a bundle, before anything is run."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import ModelNotFoundError
from moe_eval_plugin.files import sha256_of
from moe_eval_plugin.hosts.harness import installed_harness
from moe_eval_plugin.publish.bundle.environment import (
    important_first,
    lock_text,
    locked_versions,
    package_differences,
)
from moe_eval_plugin.results.versions import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.publish.bundle.unpack import Bundle

COMPARED_FACTS = ("kind", "name", "n_devices", "threads", "driver", "memory_bytes")


@dataclass(frozen=True)
class EnvironmentDifferences:
    """Differences of packages (Python included) and machine, as ``name: before -> now``.

    ``checkpoint`` lists the faults of the local copy of a checkpoint that was a folder.
    """

    packages: tuple[str, ...]
    machine: tuple[str, ...]
    checkpoint: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)


def compare_environment(bundle: Bundle, pretrained: str | None = None) -> EnvironmentDifferences:
    """Compare packages, Python, hardware and checkpoint with those of the bundle.

    ``pretrained`` is the local copy of the checkpoint, ``None`` for the same path.
    """
    packages = package_differences(locked_versions(bundle.lock), locked_versions(lock_text()))
    before, now = bundle.description.python, platform.python_version()
    python = [f"python: {before} -> {now}"] if before != now else []
    recorded = bundle.description.machine
    machine = _machine_differences(recorded) if recorded else ()
    return EnvironmentDifferences(
        (*python, *important_first(packages, PACKAGES)),
        machine,
        _checkpoint_differences(bundle, pretrained),
    )


def raise_if_not_runnable(bundle: Bundle, pretrained: str | None) -> None:
    """Raise ``MissingDependencyError`` without the host of a bundle, else as for its checkpoint."""
    installed_harness(bundle.description.host)
    raise_if_no_checkpoint(bundle, pretrained)


def raise_if_no_checkpoint(bundle: Bundle, pretrained: str | None) -> None:
    """Raise ``ModelNotFoundError`` if the checkpoint was a folder that does not exist here."""
    folder = _checkpoint_folder(bundle, pretrained)
    if folder is not None and not folder.is_dir():
        message = (
            f"The checkpoint {folder} does not exist here and is not in the bundle. Get it from "
            "the authors of the bundle, and pass its path with --pretrained."
        )
        raise ModelNotFoundError(message)


def _checkpoint_folder(bundle: Bundle, pretrained: str | None) -> Path | None:
    """Return the path of the checkpoint; ``None`` for one on the Hub and for the demo."""
    known = bundle.description.checkpoint
    return Path(pretrained or known.pretrained).expanduser() if known.is_local_folder else None


def _checkpoint_differences(bundle: Bundle, pretrained: str | None) -> tuple[str, ...]:
    folder = _checkpoint_folder(bundle, pretrained)
    if folder is None:
        return ()
    if not folder.is_dir():
        return (f"{folder} does not exist: pass its path with --pretrained",)
    return tuple(
        f"{folder / name} is not the file of the original run"
        for name, digest in bundle.description.checkpoint.sha256.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != digest
    )


def _machine_differences(before: Mapping[str, Any]) -> tuple[str, ...]:
    from moe_eval_plugin.hardware.device import describe_this_machine

    now = describe_this_machine().to_dict()
    return tuple(
        f"{name}: {before.get(name)} -> {now.get(name)}"
        for name in COMPARED_FACTS
        if before.get(name) != now.get(name)
    )
