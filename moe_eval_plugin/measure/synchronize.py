"""Wait for the device, so that a clock can be read."""

from __future__ import annotations


def synchronize(device: str) -> None:
    """Wait until the device has done all work that was queued on it; a CPU has none queued."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        for index in range(torch.cuda.device_count()):
            torch.cuda.synchronize(index)
    elif kind != "cpu":
        torch.accelerator.synchronize()
