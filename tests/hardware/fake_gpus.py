"""GPUs that this machine need not have: what torch and NVML would say of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import pytest

H100 = "NVIDIA H100 80GB HBM3"


class NVMLError(Exception):
    """The base of all errors of pynvml."""


@dataclass
class FakeGpu:
    """One GPU; NVML's index differs from torch's, so only the identifier finds it."""

    name: str = H100
    uuid: str = "1b2c"
    memory_bytes: int = 80 * 1024**3
    energy_millijoules: int = 5_000_000
    sm_mhz: int = 1980
    process_ids: list[int] = field(default_factory=list)
    faults: dict[str, Exception] = field(default_factory=dict)


class FakeNvml(ModuleType):
    """As much of pynvml as is asked for."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2

    def __init__(self, gpus: list[FakeGpu]) -> None:
        super().__init__("pynvml")
        self._gpus = {f"GPU-{gpu.uuid}": gpu for gpu in gpus}
        self.init_fault: Exception | None = None

    def nvmlInit(self) -> None:  # noqa: N802
        if self.init_fault is not None:
            raise self.init_fault

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: N802
        if uuid not in self._gpus:
            message = "Not Found"
            raise NVMLError(message)
        return self._gpus[uuid]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.95.05"

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, kind: int) -> int:  # noqa: N802
        return {1: gpu.sm_mhz, 2: 2619}[_unless_faulty(gpu, "clocks", kind)]

    def nvmlDeviceGetMaxClockInfo(self, gpu: FakeGpu, kind: int) -> int:  # noqa: N802
        return {1: 1980, 2: 2619}[_unless_faulty(gpu, "clocks", kind)]

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:  # noqa: N802
        pids: list[int] = _unless_faulty(gpu, "processes", gpu.process_ids)
        return [SimpleNamespace(pid=pid) for pid in pids]

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: FakeGpu) -> int:  # noqa: N802
        return _unless_faulty(gpu, "power", 700_000)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:  # noqa: N802
        return _unless_faulty(gpu, "energy", gpu.energy_millijoules)


def _unless_faulty(gpu: FakeGpu, what: str, value: Any) -> Any:
    if what in gpu.faults:
        raise gpu.faults[what]
    return value


def install(monkeypatch: pytest.MonkeyPatch, gpus: list[FakeGpu]) -> FakeNvml:
    """Let torch see these GPUs, in this order, and return an NVML that has them."""

    def properties(index: int) -> SimpleNamespace:
        return SimpleNamespace(uuid=gpus[index].uuid, total_memory=gpus[index].memory_bytes)

    library = FakeNvml(gpus)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: gpus[index].name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.version, "hip", None)
    return library
