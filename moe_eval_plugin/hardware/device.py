"""Describe a device: name, driver, memory, clocks, power limit, bandwidth and peak FLOP/s.

What is not known is ``None``, and ``reasons`` say why. Nothing here ends a run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from moe_eval_plugin.hardware import accelerators, nvml
from moe_eval_plugin.hardware.nvml import NotKnownError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moe_eval_plugin.hardware.calibration import Calibration

T = TypeVar("T")
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class DeviceFacts:
    """The hardware that a run used; with several devices, the facts are those of the first."""

    kind: str
    """Device type of torch: ``cpu``, or ``cuda`` (AMD GPUs too)."""
    name: str | None = None
    """Name that the driver or the kernel reports."""
    n_devices: int | None = None
    """Number of devices."""
    threads: int | None = None
    """Threads that torch may use on a CPU."""
    driver: str | None = None
    """Version of the GPU driver."""
    memory_bytes: int | None = None
    """Memory of the device; all RAM for a CPU."""
    clocks_mhz: Mapping[str, float] | None = None
    """Current clocks: ``sm`` and ``memory`` of a GPU, or ``cpu``."""
    power_limit_watts: float | None = None
    """Power limit of the GPU."""
    memory_bandwidth_bytes_per_s: float | None = None
    """Bandwidth of the memory."""
    peak_flops_per_s: Mapping[str, float] | None = None
    """Peak FLOP/s by dtype."""
    source: str | None = None
    """Source of bandwidth and peaks: ``table`` (data sheets) or ``calibrated`` (measured)."""
    reasons: tuple[str, ...] = ()
    """Why facts are ``None``."""

    def peak(self, dtype: str) -> float | None:
        """Return the peak FLOP/s at a dtype of torch; ``None`` if it is not known.

        ``float32`` means full precision; with TF32 allowed the peak is that of ``tfloat32``.
        """
        name = dtype.removeprefix("torch.")
        peaks = self.peak_flops_per_s or {}
        return peaks.get(name, peaks.get("float8") if name.startswith("float8") else None)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON data."""
        return {**asdict(self), "reasons": list(self.reasons)}


def describe_device(device: str, *, calibration: Calibration | None = None) -> DeviceFacts:
    """Return the facts of ``cpu``, of one GPU (``cuda:1``), or of all visible ones (``cuda``).

    A ``calibration`` replaces the figures of data sheets, unless nothing could be measured.
    """
    device_type = device.partition(":")[0]
    if device_type == "cuda":
        facts = _gpus(device)
    elif device_type == "cpu":
        facts = _cpu()
    else:
        reason = f"facts of {device_type} devices are not read"
        facts = DeviceFacts(device_type, reasons=(reason,))
    if calibration is None:
        return _with_table(facts)
    facts = replace(facts, reasons=(*facts.reasons, *calibration.reasons))
    if calibration.memory_bandwidth_bytes_per_s is None and calibration.peak_flops_per_s is None:
        return _with_table(facts)
    return _with_calibration(facts, calibration)


def describe_this_machine() -> DeviceFacts:
    """Return the facts of the first GPU, or of the CPU where there is none."""
    import torch

    return describe_device("cuda:0" if torch.cuda.is_available() else "cpu")


def _cpu() -> DeviceFacts:
    import psutil
    import torch

    reasons: list[str] = []
    clock = _known(_cpu_clock, reasons)
    return DeviceFacts(
        kind="cpu",
        name=_known(_cpu_name, reasons),
        n_devices=1,
        threads=torch.get_num_threads(),
        memory_bytes=int(psutil.virtual_memory().total),
        clocks_mhz=None if clock is None else {"cpu": clock},
        reasons=tuple(reasons),
    )


def _cpu_name() -> str:
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        message = f"the name of the processor is not known: {error}"
        raise NotKnownError(message) from error
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    message = f"{CPUINFO} does not name the processor"
    raise NotKnownError(message)


def _cpu_clock() -> float:
    import psutil

    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError) as error:
        message = f"the clock of the processor is not known: {error}"
        raise NotKnownError(message) from error
    current = getattr(frequency, "current", None)  # without a frequency, psutil gives None or 0
    if not current:
        message = "the system does not report the clock of the processor"
        raise NotKnownError(message)
    return float(current)


def _gpus(device: str) -> DeviceFacts:
    import torch

    try:
        indices = nvml.visible(device)
        names = [torch.cuda.get_device_name(index) for index in indices]
        memory_bytes = int(torch.cuda.get_device_properties(indices[0]).total_memory)
    except (NotKnownError, RuntimeError) as error:  # torch reports faults of the driver as the last
        return DeviceFacts("cuda", reasons=(str(error),))
    reasons = _differences(names)
    gpu = _known(lambda: nvml.Gpu(indices[0]), reasons)
    return DeviceFacts(
        kind="cuda",
        name=names[0],
        n_devices=len(indices),
        memory_bytes=memory_bytes,
        driver=None if gpu is None else _known(gpu.driver, reasons),
        clocks_mhz=None if gpu is None else _known(gpu.clocks_mhz, reasons),
        power_limit_watts=None if gpu is None else _known(gpu.power_limit_watts, reasons),
        reasons=tuple(reasons),
    )


def _differences(names: list[str]) -> list[str]:
    if len(set(names)) == 1:
        return []
    return [f"the GPUs differ; these facts are those of the first: {', '.join(names)}"]


def _with_table(facts: DeviceFacts) -> DeviceFacts:
    entry = accelerators.find_accelerator(facts.name or "")
    if entry is None:
        name = facts.name or f"this {facts.kind} device"
        reason = f"no data-sheet figures for {name}: `moe-eval bench --calibrate` measures them"
        return replace(facts, reasons=(*facts.reasons, reason))
    return replace(
        facts,
        memory_bandwidth_bytes_per_s=entry.memory_bandwidth_bytes_per_s,
        peak_flops_per_s=dict(entry.peak_flops_per_s),
        source="table",
    )


def _with_calibration(facts: DeviceFacts, calibration: Calibration) -> DeviceFacts:
    peak = calibration.peak_flops_per_s
    return replace(
        facts,
        memory_bandwidth_bytes_per_s=calibration.memory_bandwidth_bytes_per_s,
        peak_flops_per_s=None if peak is None else {calibration.dtype: peak},
        source="calibrated",
    )


def _known(read: Callable[[], T], reasons: list[str]) -> T | None:
    try:
        return read()
    except NotKnownError as error:
        reasons.append(str(error))
        return None
