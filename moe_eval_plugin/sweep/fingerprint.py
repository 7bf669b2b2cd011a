"""What the numbers of a sweep depend on, beside what was asked for: model, packages, machine."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import ask_hub, resolve
from moe_eval_plugin.results.versions import installed_versions

SMALL_FILE_BYTES = 64 * 2**20


def model_settings(pretrained: str, revision: str | None) -> dict[str, Any]:
    """Tell which weights a name stands for: the commit on the hub, or the files in a folder."""
    name = resolve(pretrained)
    if is_folder(name):
        return {"model files": _files_digest(Path(name))}
    found = ask_hub(name, revision)
    return {"model revision": found.sha if found else revision}


def version_settings() -> dict[str, Any]:
    """Give the version of each package that a number depends on."""
    return {f"version of {name}": version for name, version in installed_versions().items()}


def machine() -> dict[str, str]:
    """Name the machine and its device: times of two machines do not belong into one point."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    return {"host": platform.node(), "device": device, "machine": platform.machine()}


def _files_digest(folder: Path) -> str:
    """Digest the files of a model; of large ones the size and the time of their last change."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        if size <= SMALL_FILE_BYTES:
            digest.update(path.read_bytes())
        else:
            digest.update(str(path.stat().st_mtime_ns).encode())
    return digest.hexdigest()[:12]
