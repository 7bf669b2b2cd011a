"""Does the model fit? Asked before anything large is downloaded or loaded.

Sizes come from the weight files on disk, or from the hub's list of them; memory from the machine.
Where a size cannot be known, the check says so in the log and lets the loading speak for itself.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from moe_eval_plugin.checkpoint import resolve
from moe_eval_plugin.errors import InsufficientMemoryError
from moe_eval_plugin.weights import FLOAT_BYTES, WeightSize, weight_size

logger = logging.getLogger(__name__)

GIB = 1024**3
HEADROOM = 1.1
SKIP_VARIABLE = "MOE_EVAL_SKIP_PREFLIGHT"
DTYPE_BYTES = {
    "float64": 8,
    "float32": 4,
    "float": 4,
    "fp32": 4,
    "float16": 2,
    "half": 2,
    "fp16": 2,
    "bfloat16": 2,
    "bf16": 2,
}
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Bytes that are free for a model, and where."""

    free_bytes: int
    where: str


def check_memory(
    pretrained: str,
    *,
    revision: str | None = None,
    device: str,
    device_map: str | None,
    dtype: str | None,
) -> None:
    """Refuse a model that is larger than the memory or the disk space that is free.

    ``device`` and ``device_map`` are those that the model will be loaded with, ``dtype`` is the
    one asked for (``None`` or ``auto``: as stored). Raises ``InsufficientMemoryError``, unless
    ``MOE_EVAL_SKIP_PREFLIGHT=1``.
    """
    if os.environ.get(SKIP_VARIABLE, "0").lower() not in {"", "0", "false"}:
        logger.info("%s is set: whether %s fits was not checked.", SKIP_VARIABLE, pretrained)
        return
    name = resolve(pretrained)
    size = weight_size(name, revision)
    if size is None:
        logger.warning("The size of %s is not known, so whether it fits was not checked.", name)
        return
    require_disk(name, size.download_bytes, free_disk_bytes(cache_folder()))
    memory = free_memory(device, device_map)
    if memory is None:
        logger.warning("The free memory of %s is not known, so it was not checked.", device)
        return
    require_memory(name, bytes_needed(size, dtype), memory)


def bytes_needed(size: WeightSize, dtype: str | None = None) -> int:
    """Give the bytes that the weights take in memory, with room for what goes with them.

    Numbers stored as floating point are converted to ``dtype``; quantised ones stay as they are.
    """
    weights = size.total_bytes
    wanted = DTYPE_BYTES.get((dtype or "auto").removeprefix("torch."))
    if wanted is not None:
        weights += sum(
            n * (wanted - FLOAT_BYTES[stored])
            for stored, n in size.elements.items()
            if stored in FLOAT_BYTES
        )
    return int(weights * HEADROOM)


def require_memory(name: str, needed_bytes: int, memory: Memory) -> None:
    """Raise ``InsufficientMemoryError`` with advice when a model needs more than is free."""
    if needed_bytes <= memory.free_bytes:
        return
    message = (
        f"{name} needs {gib(needed_bytes)} (its weights and a tenth more), and "
        f"{gib(memory.free_bytes)} are free on {memory.where}. Nothing was loaded. Use a smaller "
        "model, pretrained=demo for the embedded one, a smaller dtype (dtype=bfloat16), or more "
        f"GPUs with device_map=auto. To try all the same, set {SKIP_VARIABLE}=1."
    )
    raise InsufficientMemoryError(message)


def require_disk(name: str, download_bytes: int, free_bytes: int) -> None:
    """Raise ``InsufficientMemoryError`` when the files to download do not fit on the disk."""
    if download_bytes <= free_bytes:
        return
    message = (
        f"{name} is a download of {gib(download_bytes)}, and {gib(free_bytes)} are free on the "
        f"disk of {cache_folder()}. Nothing was downloaded. Make room, or let HF_HOME name a "
        f"folder on a larger disk, or use pretrained=demo. To try all the same, set "
        f"{SKIP_VARIABLE}=1."
    )
    raise InsufficientMemoryError(message)


def free_memory(device: str, device_map: str | None) -> Memory | None:
    """Measure the memory that a model may take on a device; ``None`` for an unknown device.

    A ``device_map`` such as ``auto`` spreads the model over all visible GPUs and the RAM.
    """
    place = device_map or device
    kind = place.partition(":")[0]
    if kind in {"auto", "balanced", "balanced_low_0", "sequential"}:
        gpus = free_gpu_bytes()
        total = sum(gpus) + free_ram_bytes()
        return Memory(total, f"{len(gpus)} GPUs and the RAM together" if gpus else "the RAM")
    if kind == "cuda":
        gpus = free_gpu_bytes()
        index = int(place.partition(":")[2] or 0)
        return Memory(gpus[index], f"cuda:{index}") if index < len(gpus) else None
    return Memory(free_ram_bytes(), "the RAM") if kind in {"cpu", "mps"} else None


def free_gpu_bytes() -> list[int]:
    """List the free bytes of each visible GPU; empty without any."""
    import torch

    return [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]


def free_ram_bytes(cgroup: Path = CGROUP) -> int:
    """Give the bytes of RAM that this process may still take, also inside a container."""
    import psutil

    available = int(psutil.virtual_memory().available)
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        rows = (line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        reclaimable = int(dict(rows)["inactive_file"])
    except (OSError, ValueError, KeyError):  # no such files, or "max": this group has no limit
        return available
    return max(0, min(available, limit - used + reclaimable))


def free_disk_bytes(folder: Path) -> int:
    """Give the free bytes of the disk on which a folder lies or would be made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def gib(n_bytes: int) -> str:
    """Write a number of bytes in GiB."""
    return f"{n_bytes / GIB:,.1f} GiB"


def cache_folder() -> Path:
    """Give the folder that models are downloaded to."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
