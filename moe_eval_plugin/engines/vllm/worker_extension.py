"""Methods that vLLM mixes into its workers: the k of their layers, and their hardware.

``collective_rpc`` calls the methods of ``WorkerExtension`` by name. What they take and return is
plain data, because it crosses processes.
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
        """Start measuring; what was held and used before does not count."""
        self.moe_eval_meter = HardwareMeter(str(self.device))
        self.moe_eval_meter.start()

    def moe_eval_meter_read(self, task: str, is_last: bool) -> None:  # noqa: FBT001  (an RPC)
        """Read the meters for a task: counters of energy wrap around within minutes."""
        self.moe_eval_meter.batch_end(task, is_last=is_last)

    def moe_eval_meter_finish(self) -> dict[str, Any]:
        """Return the use of each task, and the description of the energy counter."""
        uses = {task: use.to_dict() for task, use in self.moe_eval_meter.finish().items()}
        energy = self.moe_eval_meter.describe()
        del self.moe_eval_meter
        return {"uses": uses, "energy": energy}


class WorkerExtension(ExpertWatch, HardwareWatch):
    """All methods that are mixed into vLLM's worker; their names begin with ``moe_eval_``."""
