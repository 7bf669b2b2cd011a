from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.publish.bundle.finished_sweeps import write_sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A sweep over k 8 and 2."""
    return write_sweep(tmp_path / "original")


@pytest.fixture
def again(original: Path, tmp_path: Path) -> Path:
    """The same sweep once more, answer by answer."""
    shutil.copytree(original, tmp_path / "again")
    return tmp_path / "again"
