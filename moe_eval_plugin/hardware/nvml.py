"""Read the driver, clocks, power limit and energy counter of a GPU with NVML.

NVIDIA's management library comes with the driver; its Python module is the optional package
``nvidia-ml-py``. What cannot be read raises ``NotKnownError`` with the reason; it ends no run.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL = "pip install 'moe-eval-plugin[profile]'"


class NotKnownError(Exception):
    """A fact cannot be read on this machine; the text is the reason, for the results file."""


def visible(device: str) -> list[int]:
    """List torch's indices of the GPUs that a device names: one (``cuda:1``) or all (``cuda``).

    Raises ``NotKnownError`` where torch does not see them.
    """
    import torch

    n_visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = device.partition(":")[2]
    chosen = range(n_visible) if not index else [i for i in range(n_visible) if index == str(i)]
    if not chosen:
        message = f"torch sees {n_visible} GPUs here, and {device} is none of them"
        raise NotKnownError(message)
    return list(chosen)


class Gpu:
    """One GPU, by its index in torch.

    NVML and torch number the GPUs differently (``CUDA_VISIBLE_DEVICES`` hides some from torch),
    so the GPU is found by its UUID. All reads raise ``NotKnownError``.
    """

    def __init__(self, index: int) -> None:
        self._pynvml = _load()
        with self._reasons("NVML does not find the GPU"):
            self._pynvml.nvmlInit()
            self._handle = self._pynvml.nvmlDeviceGetHandleByUUID(_identifier(index))

    def driver(self) -> str:
        """Return the version of the driver."""
        with self._reasons("the version of the driver is not known"):
            version = self._pynvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)

    def clocks_mhz(self) -> dict[str, float]:
        """Return the current clocks of the processors (``sm``) and of the ``memory``, in MHz."""
        read, nvml = self._pynvml.nvmlDeviceGetClockInfo, self._pynvml
        with self._reasons("the clocks are not known"):
            return {
                "sm": float(read(self._handle, nvml.NVML_CLOCK_SM)),
                "memory": float(read(self._handle, nvml.NVML_CLOCK_MEM)),
            }

    def clock_share(self) -> float:
        """Return the clock of the processors by the largest that the GPU has, 0 to 1."""
        nvml = self._pynvml
        with self._reasons("the clocks are not known"):
            now = nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM)
            return float(now) / float(
                nvml.nvmlDeviceGetMaxClockInfo(self._handle, nvml.NVML_CLOCK_SM)
            )

    def process_ids(self) -> set[int]:
        """Return the processes that compute on the GPU, by the numbers that the driver knows."""
        with self._reasons("the processes are not known"):
            found = self._pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
            return {int(one.pid) for one in found}

    def power_limit_watts(self) -> float:
        """Return the power limit that the driver enforces, in watts."""
        with self._reasons("the power limit is not known"):
            return float(self._pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle)) / 1000

    def energy_millijoules(self) -> int:
        """Return the energy of the whole board since its driver was loaded (Volta and later)."""
        with self._reasons("this GPU has no readable energy counter"):
            return int(self._pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    @contextmanager
    def _reasons(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._pynvml.NVMLError as error:
            message = f"{what}: NVML says {error}"
            raise NotKnownError(message) from error


def _load() -> Any:  # noqa: ANN401  (a module without types, and it may not be installed)
    import torch

    if torch.version.hip is not None:
        message = "NVML reads GPUs of NVIDIA only"
        raise NotKnownError(message)
    try:
        return import_module("pynvml")
    except ImportError as error:
        message = f"nvidia-ml-py is not installed, so NVML cannot be read: {INSTALL}"
        raise NotKnownError(message) from error


def _identifier(index: int) -> str:
    import torch

    try:
        uuid = str(torch.cuda.get_device_properties(index).uuid)
    except RuntimeError as error:
        message = f"torch does not report the UUID of cuda:{index}: {error}"
        raise NotKnownError(message) from error
    return f"GPU-{uuid.removeprefix('GPU-')}"
