"""Inputs and answers of one point of a sweep: encoded once, answered once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.refusals import RefusedJobsError
from moe_eval_plugin.engines.transformers.batches.preparing import make_queue, part_jobs, prepare
from moe_eval_plugin.engines.transformers.batches.shared_inputs import CannotShareError
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.sweeps.workers.journal import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.engines.request import Generated, Job
    from moe_eval_plugin.engines.transformers.batches.preparing import Prepared
    from moe_eval_plugin.engines.transformers.batches.sharing_plan import SharingPlan
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.sweeps.workers.input_cache import InputCache
    from moe_eval_plugin.sweeps.workers.journal import Journal
    from moe_eval_plugin.sweeps.workers.progress import Answered

ENCODED_ONCE = "encoded once for all settings; encoding is not in wall_s"
ENCODED_AGAIN = (
    "encoded once for all settings as far as memory allows, and again at each setting beyond that; "
    "encoding is not in wall_s"
)
NO_ENERGY = "the run was interrupted, and the energy of its first part is not known"


class SweepBatches:
    """The ``BatchStore`` of a point: an input cache for all points, and the point's own journal.

    ``on_progress`` gets the number of requests of each batch as it is answered, or found in the
    journal; ``earlier`` says which of the two.
    """

    def __init__(self, inputs: InputCache, journal: Journal, on_progress: Answered) -> None:
        self._inputs = inputs
        self._journal = journal
        self._on_progress = on_progress
        self._batches: list[Batch] = []
        self._is_encoded_ahead = False

    def start_run(self) -> None:
        """Begin a run of requests of any kind; batches of an earlier one are not counted again."""
        self._batches.clear()
        self._is_encoded_ahead = False

    def encode_ahead(
        self,
        engine: HFEngine,
        jobs: Sequence[Job],
        batch_size: int,
        refuse: Callable[[Job, str], object],
        sharing: SharingPlan | None = None,
    ) -> None:
        """Encode the inputs of all jobs, as far as memory takes them, before time is measured.

        ``refuse`` gets each job that cannot be put to the model, and why.
        """
        self._is_encoded_ahead = True
        queue = make_queue(engine, jobs, batch_size, sharing)
        while queue and not self._inputs.is_full:
            batch = queue.pop()
            try:
                self._inputs.prepare(batch, partial(prepare, engine, sharing=sharing))
            except RefusedJobsError as error:
                for job, reason in error.reasons.items():
                    refuse(job, reason)
                queue.put_back(error.others(batch))
            except CannotShareError as error:
                part_jobs(batch, queue, sharing, error)

    def prepare(self, jobs: Sequence[Job], encode: Callable[[Sequence[Job]], Prepared]) -> Prepared:
        """Return the inputs of a batch, encoded now or before."""
        return self._inputs.prepare(jobs, encode)

    def find(self, jobs: Sequence[Job]) -> Batch | None:
        """Return the batch of exactly these jobs from the journal, if it was answered."""
        known = self._journal.batch([job.index for job in jobs])
        if known is not None:
            self._count(known)
        return known

    def was_halved(self, jobs: Sequence[Job]) -> bool:
        """Whether a batch of these jobs did not fit into the memory before."""
        return self._journal.was_halved([job.index for job in jobs])

    def add(self, jobs: Sequence[Job], answers: Sequence[Generated], timing: BatchTiming) -> None:
        """Write a batch to the journal; it is on the disk when this returns."""
        batch = Batch(
            tuple(job.index for job in jobs),
            tuple(answers),
            timing,
            self._journal.process,
        )
        self._journal.append(batch)
        self._count(batch)

    def complete(self, measured: Measurements) -> Measurements:
        """Remove the energy of a part of the batches, which would look like that of all."""
        if self._n_answered_before == 0:
            return measured
        hardware = {
            task: HardwareUse(use.peak_memory, None) for task, use in measured.hardware.items()
        }
        energy = measured.energy
        if energy is not None:
            energy = {**energy, "reasons": [*energy.get("reasons", ()), NO_ENERGY]}
        return replace(measured, hardware=hardware, energy=energy)

    def provenance(self) -> dict[str, Any]:
        """Describe how the batches of this run came about, as plain JSON data.

        Requests that are scored, or have several rounds, are encoded in turn and timed with it:
        nothing is said of their inputs.
        """
        processes = {batch.process for batch in self._batches} | {self._journal.process}
        return {
            **(self._encoding() if self._is_encoded_ahead else {}),
            "n_processes": len(processes),
            "n_answered_before": self._n_answered_before,
        }

    def _encoding(self) -> dict[str, Any]:
        encode_s: dict[str, float] = {}
        for batch in self._batches:
            task = batch.timing.task
            encode_s[task] = encode_s.get(task, 0.0) + (batch.timing.encode_s or 0.0)
        inputs = ENCODED_AGAIN if self._inputs.is_full else ENCODED_ONCE
        return {"inputs": inputs, "encode_s": encode_s}

    @property
    def _n_answered_before(self) -> int:
        ours = self._journal.process
        return sum(len(batch.indices) for batch in self._batches if batch.process != ours)

    def _count(self, batch: Batch) -> None:
        self._batches.append(batch)
        earlier = batch.process != self._journal.process
        self._on_progress(len(batch.indices), earlier=earlier)
