"""Read the free memory of the machine, and the peak memory of this process."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moe_eval_plugin.measure.hardware_use import PeakMemory

CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
KIB = 1024
CGROUP = Path("/sys/fs/cgroup")


def peak_memory(device: str) -> PeakMemory:
    """Return the peak memory since ``reset_peak_memory``, or since the process began."""
    import resource

    process_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    gpus = gpus_of_process(device)
    if not gpus:
        return PeakMemory(None, None, process_bytes)
    import torch

    return PeakMemory(
        allocated_bytes=sum(torch.cuda.max_memory_allocated(index) for index in gpus),
        reserved_bytes=sum(torch.cuda.max_memory_reserved(index) for index in gpus),
        process_bytes=process_bytes,
    )


def reset_peak_memory(device: str) -> None:
    """Reset the peaks; that of the RAM stays where Linux does not allow it."""
    with suppress(OSError):
        CLEAR_REFS.write_text(RESET_PEAK, encoding="ascii")
    for index in gpus_of_process(device):
        import torch

        torch.cuda.reset_peak_memory_stats(index)


def gpus_of_process(device: str) -> list[int]:
    """List all GPUs on which this process may hold memory, whichever of them a device names."""
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return []
    return list(range(torch.cuda.device_count()))


@dataclass(frozen=True)
class Memory:
    """Memory that is free for a model."""

    free_bytes: int
    where: str
    """Which memory, in words: "the RAM" for instance."""


def free_memory(device: str, device_map: str | None) -> Memory | None:
    """Return the memory that a model may take on a device; ``None`` for an unknown device.

    A ``device_map`` such as ``auto`` spreads the model over all visible GPUs and the RAM.
    """
    target = device_map or device
    target_type, _, index_text = target.partition(":")
    if target_type in {"auto", "balanced", "balanced_low_0", "sequential"}:
        gpus = free_gpu_bytes()
        total = sum(gpus) + free_ram_bytes()
        return Memory(total, f"{len(gpus)} GPUs and the RAM together" if gpus else "the RAM")
    if target_type == "cuda":
        gpus = free_gpu_bytes()
        index = int(index_text or 0)
        return Memory(gpus[index], f"cuda:{index}") if index < len(gpus) else None
    return Memory(free_ram_bytes(), "the RAM") if target_type in {"cpu", "mps"} else None


def free_gpu_bytes() -> list[int]:
    """List the free bytes of each visible GPU; empty without any."""
    import torch

    return [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]


def free_ram_bytes(cgroup: Path = CGROUP) -> int:
    """Return the bytes of RAM that this process may still take, also inside a container."""
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
    """Return the free bytes of the disk on which a folder lies or would be made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free
