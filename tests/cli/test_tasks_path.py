from __future__ import annotations

from pathlib import Path

from tests.cli.programs import moe_eval


def test_tasks_path_is_a_folder_of_definitions() -> None:
    run = moe_eval("tasks-path")
    assert run.returncode == 0, run.stderr
    assert list(Path(run.stdout.strip()).glob("*.yaml"))
