"""What the code of a sweep's task is identified by."""

from __future__ import annotations

import runpy
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.shared.task_settings import code_digest

if TYPE_CHECKING:
    from pathlib import Path


def config(folder: Path) -> Any:
    """Make what the host has of a task: settings, of which some are functions."""
    found = runpy.run_path(str(folder / "utils.py"))
    settings = {"task": "own", "doc_to_text": found["text"], "score": partial(found["text"], "a")}
    return SimpleNamespace(**settings, metric=len)


def test_code_beside_the_functions_of_a_task_counts(tmp_path: Path) -> None:
    code = tmp_path / "utils.py"
    code.write_text("def text(doc):\n    return doc\n")
    before = code_digest(config(tmp_path))
    assert before is not None
    assert code_digest(config(tmp_path)) == before
    code.write_text("def text(doc):\n    return doc + '?'\n")
    changed = code_digest(config(tmp_path))
    (tmp_path / "helper.py").write_text("x = 1\n")
    assert len({before, changed, code_digest(config(tmp_path))}) == 3


def test_a_task_without_functions_of_its_own_has_no_code() -> None:
    assert code_digest(SimpleNamespace(task="own", metric=len)) is None
