from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.sweeps.workers.lmms_eval_model import (
    ResidentMoEHF,
)
from tests.hosts.lmms_eval.easy_requests import SPLIT, TASK, questions
from tests.sweeps.workers.resident_runs import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def model() -> Iterator[ResidentMoEHF]:
    model = ResidentMoEHF(**ARGUMENTS, experts_k=8)
    model.task_dict = {TASK: {SPLIT: questions()}}
    yield model
    model.engine.close()
