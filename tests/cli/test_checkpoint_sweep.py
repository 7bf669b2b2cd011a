"""``moe-eval sweep --checkpoints``, and the report that pools what it measured."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest
from lm_eval import tasks as host_tasks

from tests.cli.programs import moe_eval
from tests.hosts.lm_eval.local_tasks import N_QUESTIONS, write_tasks
from tests.hosts.lm_eval.tiny_olmoe import save_olmoe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.programs import Ended

K = 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two seeds of a model, another model, and tasks."""
    manager = partial(host_tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(host_tasks, "TaskManager", manager)
    for seed in (1, 2):
        save_olmoe(tmp_path / f"seed{seed}", seed=seed)
    save_olmoe(tmp_path / "other", num_experts=16)
    (tmp_path / "tasks").mkdir()
    write_tasks(tmp_path / "tasks")
    return tmp_path


def sweep(folder: Path, *names: str) -> Ended:
    return moe_eval(
        *("sweep", "--host", "lm-eval", "--checkpoints", *(folder / name for name in names)),
        *("--tasks", "choices", "--include-path", folder / "tasks", "--experts-k", K),
        *("--model-args", "dtype=float32", "--device", "cpu", "--batch-size", 8),
        *("--speed-budget", 0, "--output", folder / "sweep"),
    )


def test_seeds_are_swept_into_folders_and_pooled(folder: Path) -> None:
    ended = sweep(folder, "seed1", "seed2")
    assert ended.returncode == 0, ended.stderr
    done, _, following = ended.stdout.partition("All checkpoints are done.\n")
    assert done
    assert following.startswith("Next: moe-eval report")
    assert following.rstrip().endswith("--checkpoints")
    for name in ("seed1", "seed2"):
        manifest = json.loads((folder / "sweep" / name / "manifest.json").read_text("utf-8"))
        assert manifest["settings"]["model_args"].startswith(f"pretrained={folder / name}")
    page = folder / "page.html"
    report = moe_eval("report", folder / "sweep", "--checkpoints", "--json", "--output", page)
    assert report.returncode == 0, report.stderr
    (task,) = json.loads(report.stdout)["checkpoints"]
    (setting,) = task["settings"]
    assert (task["task"], setting["label"]) == ("choices", f"k={K}")
    assert len(setting["difference"]["differences"]) == 2
    assert setting["difference"]["n_questions"] == N_QUESTIONS["choices"]
    assert 0 < setting["routed_flop_share"] < 1


def test_another_model_is_refused_before_anything_is_run(folder: Path) -> None:
    ended = sweep(folder, "seed1", "other")
    assert ended.returncode == 2
    assert "are not checkpoints of one model. They differ in experts: 8 and 16" in ended.stderr
    assert not (folder / "sweep").exists()
