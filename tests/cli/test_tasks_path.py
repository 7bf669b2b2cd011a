from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.programs import moe_eval


@pytest.mark.parametrize("host", ["lmms-eval", "lm-eval"])
def test_tasks_path_is_a_folder_of_definitions_for_one_host(host: str) -> None:
    run = moe_eval("tasks-path", "--host", host)
    assert run.returncode == 0, run.stderr
    folder = Path(run.stdout.strip())
    assert list(folder.glob("*.yaml"))
    assert folder.name == host.replace("-", "_")


def test_tasks_path_is_that_of_lmms_eval_unless_another_host_is_named() -> None:
    assert moe_eval("tasks-path").stdout.strip().endswith("lmms_eval")
