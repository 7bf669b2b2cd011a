"""A process with one vLLM engine, as the process that gives it orders sees it."""

from __future__ import annotations

import json
import os
import select
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import EngineFailedError
from moe_eval_plugin.hardware.watch import MachineWatch
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.sweeps.timing.vllm.orders import EngineStart
from moe_eval_plugin.sweeps.workers.child_process import guarded, last_lines
from moe_eval_plugin.sweeps.workers.in_process import LOGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from moe_eval_plugin.measure.machine_load import MachineLoad
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.timing.vllm.orders import TimingOrder

PROGRAM = "moe_eval_plugin.sweeps.timing.vllm.program"
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_END = 60
Times = tuple[tuple[BatchTiming, ...], HardwareUse]


class EngineProcess:
    """A running process with an engine; raises ``EngineFailedError`` if it ends by itself."""

    def __init__(self, process: subprocess.Popen[bytes], answers: int, log: Path) -> None:
        assert process.stdin is not None  # noqa: S101  (a pipe; for the type checker)
        self._process, self._input, self._answers = process, process.stdin, answers
        self._log = log
        self._read = b""

    def begin(self, start: EngineStart) -> None:
        """Wait until the engine has started."""
        self.device = self._ask(asdict(start)).need_text("device")
        # The processes of the engine are there now, and count as our own.
        self._watch = MachineWatch(self.device)

    def time(self, order: TimingOrder) -> Times:
        """Return the times of the questions of an order, and the use of hardware."""
        self._watch.start()
        answer = self._ask(asdict(order))
        batches = tuple(BatchTiming.from_dict(one) for one in answer.items("batches"))
        return batches, HardwareUse.from_dict(answer.need_item("hardware"))

    def load(self) -> MachineLoad:
        """Return what else the machine did during the last order."""
        return self._watch.load()

    def end(self) -> None:
        """Close the input, with which the process ends, and wait for that."""
        with suppress(OSError):
            self._input.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, content: Mapping[str, Any]) -> JsonObject:
        try:
            self._input.write(json.dumps(content).encode() + b"\n")
            self._input.flush()
        except OSError as error:
            raise self._ended() from error
        return JsonObject(json.loads(self._line()), PROGRAM)

    def _line(self) -> bytes:
        """Return the next line of an answer. A killed process may leave others with its pipe."""
        while b"\n" not in self._read:
            if select.select([self._answers], [], [], SECONDS_BETWEEN_LOOKS)[0]:
                part = os.read(self._answers, 2**16)
                if not part:
                    raise self._ended()
                self._read += part
            elif self._process.poll() is not None:
                raise self._ended()
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _ended(self) -> EngineFailedError:
        code = self._process.wait(SECONDS_TO_END)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        return EngineFailedError(
            f"The process that timed vLLM {how}. Blocks that are finished are kept: run the same "
            f"command to continue. Its last lines:\n{last_lines(self._log)}"
        )


@contextmanager
def running_engine(plan: SweepPlan, point: SweepPoint, folder: Path) -> Iterator[EngineProcess]:
    """Start an engine at the k of a point, and stop it at the end of the block.

    Its log replaces that of the engine before it at this point.
    """
    log = folder / LOGS / f"timing-{point.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    answers, given = os.pipe()
    command = [*guarded(), PROGRAM, str(given)]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603  (this very Python, with arguments as a list)
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, pass_fds=[given]
        )
    os.close(given)
    engine = EngineProcess(process, answers, log)
    try:
        engine.begin(EngineStart.of(plan, point))
        yield engine
        engine.end()
    finally:
        if process.poll() is None:
            process.terminate()
        engine.end()
        os.close(answers)
