"""Data of the tasks, for every host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tasks.data_sets import OKVQA_ANNOTATIONS, add_raw_answers
from tests.vqa.vqa_files import edit_json, write_official

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds a small official data set of every split, named by MOE_EVAL_DATA."""
    for name in ("okvqa", "vqa_v2_val", "vqa_v2_test_dev", "vqa_v2_test"):
        write_official(tmp_path, name)
    edit_json(tmp_path / OKVQA_ANNOTATIONS, add_raw_answers)
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path))
    return tmp_path
