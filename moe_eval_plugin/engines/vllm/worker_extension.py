"""Methods that vLLM mixes into its workers: the k of their layers, and their hardware.

``collective_rpc`` calls the methods of ``WorkerExtension`` by name. What they take and return is
plain data, because it crosses processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.worker_observation import ExpertWatch
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.hardware.meter import HardwareMeter
from moe_eval_plugin.override.finite import rows_not_finite

if TYPE_CHECKING:
    import torch

STEPS_BETWEEN_READS = 256


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


class LogitsWatch:
    """Notes which requests were answered from logits that are NaN or infinite.

    Nothing waits for the device before the answers are asked for, or some hundred steps are noted.
    """

    model_runner: Any
    moe_eval_noted: list[tuple[list[str], Any]]
    moe_eval_bad: set[str]

    def moe_eval_watch_logits(self) -> None:
        """Watch the logits from now on; they are computed outside of compiled code."""
        model = self.model_runner.get_model()
        compute = model.compute_logits
        self.moe_eval_noted, self.moe_eval_bad = [], set()

        def compute_logits(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            logits = compute(*args, **kwargs)
            # Only one worker of several gets them. Logits of a prompt belong to one request.
            names = getattr(getattr(self.model_runner, "input_batch", None), "req_ids", None)
            if logits is not None and names is not None and len(names) == len(logits):
                self.moe_eval_noted.append((list(names), rows_not_finite(logits)))
                if len(self.moe_eval_noted) == STEPS_BETWEEN_READS:
                    self.moe_eval_read_logits()
            return logits

        model.compute_logits = compute_logits

    def moe_eval_read_logits(self) -> None:
        """Read what was noted, which waits for the device."""
        for names, rows in self.moe_eval_noted:
            flags = rows.tolist()
            self.moe_eval_bad |= {name for name, bad in zip(names, flags, strict=True) if bad}
        self.moe_eval_noted.clear()

    def moe_eval_not_finite(self) -> list[str]:
        """Return the names of the requests since the last call whose logits were not finite."""
        self.moe_eval_read_logits()
        found, self.moe_eval_bad = sorted(self.moe_eval_bad), set()
        return found


class WorkerExtension(ExpertWatch, HardwareWatch, LogitsWatch):
    """All methods that are mixed into vLLM's worker; their names begin with ``moe_eval_``."""
