"""Our place in lm-eval: light to register, and our tasks between its own and the user's."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml
from lm_eval import evaluator
from lm_eval.api.registry import model_registry
from lm_eval.tasks import TaskManager

from moe_eval_plugin.hosts.lm_eval.registration import MODELS, register

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
from moe_eval_plugin.hosts.lm_eval.registration import MODELS, register
register()
register()
from lm_eval.api.registry import model_registry
assert {"hf", "vllm", *MODELS} <= set(model_registry.keys())
heavy = ("torch", "transformers", "lm_eval.evaluator", "lmms_eval")
print([name for name in heavy if name in sys.modules])
"""


@pytest.fixture(autouse=True)
def _registered() -> None:
    register()


def task(folder: Path, name: str) -> Path:
    """Write the definition of a task and return its folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name}), encoding="utf-8")
    return folder


def test_registering_twice_keeps_the_models_of_the_host_and_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_releases_that_read_entry_points_find_the_same_models(repository_root: Path) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["lm_eval.models"] == MODELS


def test_a_model_that_the_host_knows_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model_registry._objs, "moe_hf", "another:Model")
    register()
    assert model_registry._objs["moe_hf"] == "another:Model"


def test_evaluate_is_wrapped_once() -> None:
    wrapped = evaluator.evaluate
    register()
    assert evaluator.evaluate is wrapped
    assert hasattr(wrapped, "_moe_eval_rows")


def test_our_tasks_come_after_the_hosts_and_before_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ours, users = (task(tmp_path / name, "shared") for name in ("host", "ours", "users"))
    task(ours, "only_ours")
    asked = []
    monkeypatch.setattr(
        "moe_eval_plugin.plugins.manager.task_folders",
        lambda host: [ours] if asked.append(host) is None else [],
    )
    monkeypatch.setattr("lm_eval.tasks.manager.__file__", str(host / "manager.py"))
    manager = TaskManager()
    assert manager.task_index["shared"].yaml_path == ours / "shared.yaml"
    assert manager.include_path is None
    for given in (str(users), [users]):
        manager = TaskManager(include_path=given)
        assert manager.task_index["shared"].yaml_path == users / "shared.yaml"
        assert manager.task_index["only_ours"].yaml_path == ours / "only_ours.yaml"
        assert manager.include_path == given
    only = TaskManager(include_path=str(users), include_defaults=False)
    assert set(only.task_index) == {"shared"}
    assert set(asked) == {"lm-eval"}
