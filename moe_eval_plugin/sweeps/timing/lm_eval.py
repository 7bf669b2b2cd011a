"""Time blocks with a model of lm-eval, whose k is changed between blocks on the loaded model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.sweeps.timing.interleaved import DoesNotFitError
from moe_eval_plugin.sweeps.timing.sample import make_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.measure.hardware_use import HardwareUse
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.plan import SweepPoint
    from moe_eval_plugin.sweeps.workers.lm_eval_model import ResidentLM


class LmEvalTimer:
    """A ``Timer`` with one loaded model; the host itself puts the requests of a block in batches.

    Nothing is shared between blocks, cached or kept.
    """

    def __init__(self, model: ResidentLM, host: LoadedTasks, points: Iterable[SweepPoint]) -> None:
        self._model = model
        self._host = host
        self._points = {point.name: point for point in points}

    @property
    def device(self) -> str:
        """The device of the weights, or all GPUs where they lie on several."""
        return self._model.measured_device

    @contextmanager
    def blocks(self, wanted: TimedPass) -> Iterator[LmEvalBlocks]:
        """Build the requests of the sample and divide them into blocks; verify each setting.

        Raises ``OverrideNotEffectiveError`` where a setting uses another k than its own.
        """
        requests = self._host.requests(self._model, wanted.task, wanted.sample)
        # The process that answered may have been another one.
        for point in self._points.values():
            self._model.verify_at(point, requests)
        blocks = divide(requests, wanted.batch_size, wanted.seed)
        yield LmEvalBlocks(self._model, self._points, blocks, wanted.batch_size)


class LmEvalBlocks:
    """``Blocks`` of one task; a block has all requests of its questions."""

    def __init__(
        self,
        model: ResidentLM,
        points: Mapping[str, SweepPoint],
        blocks: Sequence[Sequence[Any]],
        batch_size: int,
    ) -> None:
        self._model = model
        self._points = points
        self._blocks = blocks
        self._batch_size = batch_size

    def time(self, setting: str, number: int) -> tuple[tuple[BatchTiming, ...], HardwareUse | None]:
        """Set k, and time the batches of a block."""
        point, model = self._points[setting], self._model
        model.set_experts(point.experts_k, point.experts_policy, point.renorm)
        model.batch_size_per_gpu = self._batch_size
        meter = model.meter()
        if meter is not None:
            meter.start()
        try:
            batches = model.time_requests(self._blocks[number % len(self._blocks)])
        except torch.OutOfMemoryError as error:
            if self._batch_size == 1:
                raise
            raise DoesNotFitError(self._batch_size // 2) from error
        if meter is None:
            return batches, None
        meter.batch_end(setting, is_last=True)
        return batches, meter.finish()[setting]


def divide(requests: Iterable[Any], batch_size: int, seed: int) -> list[list[Any]]:
    """Divide questions into blocks of about 16, in an order that the seed chooses.

    A batch holds questions of about equal length, as in the answering pass, where the host sorts
    all requests: there is little padding. A last batch of fewer questions is left out, unless it is
    the only one.
    """
    of_questions: dict[object, list[Any]] = {}
    for request in requests:
        of_questions.setdefault(request.doc_id, []).append(request)
    questions = sorted(of_questions.values(), key=_n_characters, reverse=True)
    batches = [
        questions[begin : begin + batch_size] for begin in range(0, len(questions), batch_size)
    ]
    return [
        [request for batch in block for question in batch for request in question]
        for block in make_blocks(batches, batch_size, seed)
    ]


def _n_characters(question: Iterable[Any]) -> int:
    """Return the length of a question's longest request: its prompt, and what is to be scored."""
    return max(
        sum(len(text) for text in request.args[:2] if isinstance(text, str)) for request in question
    )
