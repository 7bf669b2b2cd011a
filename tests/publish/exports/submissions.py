from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.publish.exports.failures import IncompleteRunError
from moe_eval_plugin.publish.exports.submission import (
    EXPORTERS,
    OKVQA_TASKS,
    VQA_V2_TASKS,
)
from moe_eval_plugin.results.files import read_run
from tests.results.run_files import Sample, write_run
from tests.vqa.vqa_files import IMAGE_IDS, question_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.plugins.exporter import Exported


FORMATS = {exporter.name: exporter for exporter in EXPORTERS}


IDS = [question_id(image_id) for image_id in IMAGE_IDS]


SPLITS = {**dict.fromkeys(VQA_V2_TASKS, "evalai"), **dict.fromkeys(OKVQA_TASKS, "okvqa")}


def sample(task: str, key: object, answer: object) -> Sample:
    """Make a sample as the host writes it: tests keep a submission, other tasks are scored."""
    if task.startswith("vqa_v2_test"):
        return {"doc_id": 0, "n_answered": "", "submission": {"question_id": key, "answer": answer}}
    return {"doc_id": 0, "filtered_resps": answer, "question_id": key, "score": 1.0}


def samples(task: str, answers: Mapping[int, object]) -> list[Sample]:
    return [sample(task, key, answer) for key, answer in answers.items()]


def export(
    tmp_path: Path, task: str, given_samples: Sequence[Sample], **others: Sequence[Sample]
) -> Exported:
    run = read_run(write_run(tmp_path / "run", {task: given_samples, **others}))
    return FORMATS[SPLITS[task]].export([run], None)


def refused(tmp_path: Path, task: str, given_samples: Sequence[Sample]) -> IncompleteRunError:
    with pytest.raises(IncompleteRunError) as caught:
        export(tmp_path, task, given_samples)
    return caught.value
