"""Order jobs into batches, and read and encode the inputs of each."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from moe_eval_plugin.engines.refusals import RefusedJobsError, check_length, find_refused
from moe_eval_plugin.engines.transformers.batches.batch_queue import BatchQueue
from moe_eval_plugin.engines.transformers.batches.shared_inputs import CannotShareError
from moe_eval_plugin.measure.timing import read_clock
from moe_eval_plugin.vqa.images import decoding_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.batches.sharing_plan import SharingPlan
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.engines.transformers.engine import HFEngine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A batch whose images and tokens are ready, and the seconds that this took."""

    jobs: Sequence[Job]
    encoded: Encoded
    encode_s: float


def make_queue(
    engine: HFEngine, jobs: Sequence[Job], batch_size: int, sharing: SharingPlan | None = None
) -> BatchQueue[Job]:
    """Build the queue of jobs, sorted by length: batches of equal length need no padding."""
    counts = engine.count_tokens([job.context for job in jobs])
    lengths = dict(zip(jobs, counts, strict=True))
    if sharing is None:
        return BatchQueue(jobs, batch_size, group=_group, length=lengths.__getitem__)
    return BatchQueue(jobs, batch_size, _group, lengths.__getitem__, sharing.key)


def prepare(engine: HFEngine, jobs: Sequence[Job], sharing: SharingPlan | None = None) -> Prepared:
    """Read and encode the inputs of one batch; safe to run in a thread.

    Without ``sharing`` nothing is shared. Raises ``RefusedJobsError`` if some of them cannot be put
    to the model, and ``CannotShareError`` if they cannot share what they are planned to.
    """
    begin = read_clock()
    try:
        encoded = _encode(engine, jobs, sharing)
    except CannotShareError:
        raise
    except Exception as error:
        find_refused(jobs, error, lambda job: _encode(engine, [job]))
        raise
    return Prepared(jobs, encoded, read_clock() - begin)


def part_jobs(
    jobs: Sequence[Job],
    queue: BatchQueue[Job],
    sharing: SharingPlan | None,
    error: CannotShareError,
) -> None:
    """Return jobs that cannot share to their queue, as ones that share nothing."""
    logger.info("%d questions of %s share nothing: %s.", len(jobs), jobs[0].task, error)
    if sharing is not None:
        sharing.part(jobs)
    queue.put_back(jobs)


def first_encodable(
    engine: HFEngine, jobs: Sequence[Job], n_jobs: int, refuse: Callable[[Job, str], object]
) -> list[Job]:
    """List the first ``n_jobs`` that can be encoded; ``refuse`` gets those before that cannot."""
    chosen, others = list(jobs[:n_jobs]), iter(jobs[n_jobs:])
    while chosen:
        try:
            prepare(engine, chosen)
        except RefusedJobsError as error:
            for job, reason in error.reasons.items():
                refuse(job, reason)
            chosen = [*error.others(chosen), *islice(others, len(error.reasons))]
        else:
            break
    return chosen


def _encode(engine: HFEngine, jobs: Sequence[Job], sharing: SharingPlan | None = None) -> Encoded:
    if sharing is None:
        encoded = engine.encode([job.build() for job in jobs])
    else:
        with decoding_once():
            conversations = [job.build() for job in jobs]
        encoded = sharing.encode(engine, jobs, conversations)
    for job, n_prompt in zip(jobs, encoded.n_input_tokens, strict=True):
        n_more = engine.count_tokens([job.continuation()])[0] if job.continuation else 1
        check_length(engine.model.config, n_prompt + n_more)
    return encoded


def _group(job: Job) -> tuple[str, str]:
    """Return what is equal for jobs that may share a batch."""
    return job.task, job.settings.key
