from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.results.run_files import write_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def results_file(tmp_path: Path) -> Path:
    return write_run(tmp_path, {"okvqa": [{"question_id": 1, "filtered_resps": "red"}]})
