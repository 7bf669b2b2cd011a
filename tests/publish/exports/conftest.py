from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from tests.vqa.vqa_files import write_official

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the official files of each split, cut down to the questions in ``IDS``."""
    for name in OFFICIAL_FILES:
        write_official(tmp_path / "data" / name, name)
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"
