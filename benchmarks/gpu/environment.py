"""Record the GPU, its driver and clocks, other processes that use it, and the versions of packages.

``run.sh`` calls it. Names of hosts and of other users' programs are not recorded. It exits with 3
where PyTorch sees no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.files import write_whole
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Sequence


def gpu_now() -> dict[str, Any]:
    """Return what NVML reports of the first GPU at this moment; empty where it reports nothing."""
    import torch

    if not torch.cuda.is_available():
        return {}
    with suppress(Exception):  # NVML is optional, and each GPU and container lacks other parts
        import pynvml

        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(0).uuid).removeprefix("GPU-")
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        used = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        shares = pynvml.nvmlDeviceGetUtilizationRates(handle)
        return {
            "largest_sm_clock_mhz": pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "temperature_celsius": pynvml.nvmlDeviceGetTemperature(
                handle, pynvml.NVML_TEMPERATURE_GPU
            ),
            "busy_percent": shares.gpu,
            "n_other_processes": sum(one.pid != os.getpid() for one in used),
            "used_bytes": pynvml.nvmlDeviceGetMemoryInfo(handle).used,
        }
    return {}


def environment(device: str) -> dict[str, Any]:
    """Return all facts as plain JSON data."""
    import torch

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe_device(device).to_dict(),
        "gpu_at_start": gpu_now(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "n_cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "versions": installed_versions(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write ``environment.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--small", action="store_true", help="describe the CPU")
    parser.add_argument("--seconds", type=float, help="not used: it takes none")
    options = parser.parse_args(arguments)
    found = environment("cpu" if options.small else "cuda:0")
    write_whole(options.out / "environment.json", json.dumps(found, indent=1) + "\n")
    print(f"{found['device']['name']}, {found['versions']}")
    if found["device"]["name"] is None:
        print("; ".join(found["device"]["reasons"]), file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
