"""A folder with a small model and tasks, for commands of lm-eval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts.lm_eval.local_tasks import write_tasks
from tests.hosts.lm_eval.tiny_olmoe import save_olmoe

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and tasks."""
    found = tmp_path_factory.mktemp("lm-eval")
    save_olmoe(found / "olmoe")
    (found / "tasks").mkdir()
    write_tasks(found / "tasks")
    return found
