"""``moe_hf`` for a sweep: loaded once, inputs encoded once, answers journaled batch by batch.

Inputs are encoded before anything is measured; what memory does not take is encoded again at each
point, and the clock stands still meanwhile. So no point does work that another one is spared. The
seconds of encoding are reported beside, and are part of the time to first token and of the latency
of an answer, as they were when the inputs were encoded.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.transformers.batch_runner import (
    BatchRunner,
    Outcome,
    make_queue,
    prepare,
)
from moe_eval_plugin.engines.transformers.engine import Generated
from moe_eval_plugin.hosts.lmms_eval.arguments import parse_arg_string
from moe_eval_plugin.hosts.lmms_eval.exit_codes import user_errors
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from moe_eval_plugin.sweep.workers.journal import PROCESS, Answer, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from lmms_eval.api.instance import GenerationResult, Instance

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.batch_queue import BatchQueue
    from moe_eval_plugin.engines.transformers.batch_runner import Prepared
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.model_adapters.lmms_eval_hf import Run
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.sweep.workers.input_cache import InputCache
    from moe_eval_plugin.sweep.workers.journal import Journal

ENCODED_ONCE = "encoded once for all points; encoding is not in wall_s"
ENCODED_AGAIN = (
    "encoded once for all points as far as memory takes them, at each point else; encoding is not "
    "in wall_s"
)
NO_ENERGY = "the run was interrupted, and the energy of its first part is not known"


@dataclass
class SweepContext:
    """What a sweep puts around the model: inputs in memory, a journal, and who is told.

    ``tell`` is called with the number of requests that a batch answered. The journal is that of
    the present point.
    """

    inputs: InputCache
    journal: Journal
    tell: Callable[[int], None]


class ResidentMoEHF(MoEHF):
    """The model of one sweep; the host gets the same one at each point."""

    surroundings: SweepContext
    _sweep_runner: SweepRunner | None = None

    @user_errors()
    def become(self, arg_string: str, additional_config: dict[str, Any] | None = None) -> None:
        """Change to the point that these arguments of the model name."""
        arguments = {**(additional_config or {}), **parse_arg_string(arg_string)}
        engine_options, options = parse_arguments(arguments)
        self._sweep_runner = None
        self.set_experts(engine_options, options.seed)

    @user_errors()
    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer every request, once all inputs that memory takes are encoded."""
        queue = make_queue(self.engine, self._requests.jobs(requests), self.batch_size)
        inputs = self.surroundings.inputs
        while queue and not inputs.is_full:
            inputs.prepare(queue.pop(), partial(prepare, self.engine))
        answers: list[GenerationResult] = super().generate_until(requests)
        return answers

    def clean(self) -> None:
        """Keep the weights: the host calls this at the end of each point."""

    def _runner(self, run: Run) -> BatchRunner:
        runner = SweepRunner(self, run, self.surroundings)
        self._sweep_runner = runner
        return runner

    def _record(self, measured: Measurements) -> None:
        whole = all(batch.process == PROCESS for batch in self._batches())
        super()._record(measured if whole else _without_energy(measured))

    def _batches(self) -> list[Batch]:
        return self._sweep_runner.batches if self._sweep_runner else []

    def _provenance(self) -> dict[str, Any]:
        batches = self._batches()
        encode_s: defaultdict[str, float] = defaultdict(float)
        for batch in batches:
            encode_s[batch.timing.task] += batch.timing.encode_s or 0.0
        return {
            **super()._provenance(),
            "inputs": ENCODED_AGAIN if self.surroundings.inputs.is_full else ENCODED_ONCE,
            "encode_s": dict(encode_s),
            "n_processes": len({batch.process for batch in batches} | {PROCESS}),
            "n_answered_before": sum(len(b.indices) for b in batches if b.process != PROCESS),
        }


class SweepRunner(BatchRunner):
    """Runs the batches that the journal does not hold, and adds them to it.

    ``batches`` are all that were answered, in their order, from the journal or here.
    """

    def __init__(self, model: ResidentMoEHF, run: Run, surroundings: SweepContext) -> None:
        super().__init__(model.engine, run.stopwatch, run.after_batch, overlaps=False)
        self._surroundings = surroundings
        self.batches: list[Batch] = []

    def run(self, jobs: Sequence[Job], batch_size: int) -> Outcome:
        """Generate what is not answered yet; the outcome has all answers."""
        self.batches.clear()
        outcome = super().run(jobs, batch_size)
        answers = {
            index: Generated(**asdict(answer))
            for batch in self.batches
            for index, answer in zip(batch.indices, batch.answers, strict=True)
        }
        return Outcome(answers, outcome.batch_size)

    def _prepare_in_turn(self, queue: BatchQueue[Job]) -> Generator[Prepared]:
        journal = self._surroundings.journal
        while queue:
            jobs = queue.pop()
            indices = [job.index for job in jobs]
            known = journal.batch(indices)
            if known is not None:
                self._take(known)
                self._after_batch(known.timing)
            elif len(jobs) > 1 and journal.was_halved(indices):
                queue.put_back_halved(jobs)
            else:
                yield self._prepare(jobs)

    def _prepare(self, jobs: Sequence[Job]) -> Prepared:
        prepared = self._surroundings.inputs.prepare(jobs, super()._prepare)
        self._stopwatch.restart()
        return prepared

    def _lap(self, prepared: Prepared, results: Sequence[Generated]) -> BatchTiming:
        timing = super()._lap(prepared, results)
        indices = tuple(job.index for job in prepared.jobs)
        answers = tuple(Answer(**asdict(result)) for result in results)
        batch = Batch(indices, answers, timing, PROCESS)
        self._surroundings.journal.append(batch)
        self._take(batch)
        return timing

    def _take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._surroundings.tell(len(batch.indices))


def _without_energy(measured: Measurements) -> Measurements:
    """Take away the energy of a part, which would look like that of the whole."""
    hardware = {task: HardwareUse(use.peak_memory, None) for task, use in measured.hardware.items()}
    energy = measured.energy
    if energy is not None:
        energy = {**energy, "reasons": [*energy.get("reasons", ()), NO_ENERGY]}
    return replace(measured, hardware=hardware, energy=energy)
