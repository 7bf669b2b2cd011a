from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from tests.hosts.lmms_eval.easy_requests import (
    SPLIT,
    TASK,
    questions,
    request,
)

if TYPE_CHECKING:
    import pytest
    from lmms_eval.api.instance import Instance

    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.measurements import Measurements


N_REQUESTS = 8


class Profiled:
    """A model, and the batches of its last run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **arguments: object) -> None:
        self.model = MoEHF(pretrained="demo", batch_size=2, dtype="float32", **arguments)
        self.model.task_dict = {TASK: {SPLIT: questions()}}
        self.batches: list[BatchTiming] = []
        monkeypatch.setattr(self.model, "_record", self.keep)

    def keep(self, measured: Measurements) -> None:
        self.measured = measured
        self.batches.extend(measured.batches)

    def answer(self, n_requests: int = N_REQUESTS) -> list[str]:
        return self.answer_all([request(i) for i in range(n_requests)])

    def answer_all(self, requests: list[Instance]) -> list[str]:
        return [answer.text for answer in self.model.generate_until(requests)]
