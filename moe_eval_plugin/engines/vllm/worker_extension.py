"""What vLLM's workers do for us: each process watches the k of its layers, and its own hardware.

vLLM mixes ``WorkerExtension`` into its worker class, and ``collective_rpc`` calls its methods by
name. What they take and return is plain data, because it crosses processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.worker_observation import ExpertWatch
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.hardware.meter import HardwareMeter

if TYPE_CHECKING:
    import torch


class HardwareWatch:
    """Measures the memory and the energy of the device that one worker runs on."""

    device: torch.device

    def moe_eval_hardware(self) -> dict[str, Any]:
        """Describe the device."""
        return describe_device(str(self.device)).to_dict()

    def moe_eval_meter_start(self) -> None:
        """Begin to measure now; what was held and used before does not count."""
        self.moe_eval_meter = HardwareMeter(str(self.device))
        self.moe_eval_meter.start()

    def moe_eval_meter_read(self, task: str) -> None:
        """Read the meters for a task that goes on: counters of energy go round within minutes."""
        self.moe_eval_meter.batch_end(task, is_last=False)

    def moe_eval_meter_finish(self, task: str) -> dict[str, Any]:
        """Give what the task took, and describe the counter of energy."""
        self.moe_eval_meter.batch_end(task, is_last=True)
        use = self.moe_eval_meter.finish()[task]
        energy = self.moe_eval_meter.describe()
        del self.moe_eval_meter
        return {"use": use.to_dict(), "energy": energy}


class WorkerExtension(ExpertWatch, HardwareWatch):
    """All methods that are mixed into vLLM's worker; their names begin with ``moe_eval_``."""
