"""Our place in lmms-eval: light to list, last in line for tasks, and loud when something fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from lmms_eval import utils
from lmms_eval.tasks import TaskManager

from moe_eval_plugin.hosts.lmms_eval import registration
from moe_eval_plugin.tasks import tasks_path

OURS = {"easy_vqa", "okvqa", "vqa_v2_val", "vqa_v2_test_dev", "vqa_v2_test", "moe_vqa"}


def test_listing_models_shows_ours_and_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from lmms_eval.models import list_available_models\n"
        "assert 'moe_hf' in list_available_models()\n"
        "from lmms_eval.cli.dispatch import main\n"
        "sys.argv = ['lmms-eval', 'models']\n"
        "main()\n"
        "print([name for name in ('torch', 'transformers', 'lm_eval') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]", done.stderr
    listed = [line.split() for line in lines]
    assert ["moe_hf", "chat"] in listed
    assert ["moe_vllm", "chat"] in listed


def test_the_host_finds_our_tasks_without_a_path() -> None:
    import lmms_eval.models

    assert lmms_eval.models
    assert set(TaskManager().all_tasks) >= OURS


def test_the_list_of_tasks_is_the_same_with_either_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = TaskManager().task_index
    monkeypatch.delattr("yaml.CFullLoader")
    assert TaskManager().task_index == fast


def test_the_faster_parser_reads_the_definition_of_a_task_as_the_host_does() -> None:
    files = [*tasks_path().glob("*.yaml"), *Path(utils.__file__).parent.glob("tasks/vqav2/*.yaml")]
    before = dict(yaml.FullLoader.yaml_constructors)
    for file in files:
        with registration.fast_yaml():
            fast = utils.load_yaml_config(str(file), mode="simple")
        expected = utils.load_yaml_config(str(file), mode="simple")
        assert _without_places(fast) == _without_places(expected)
    assert yaml.FullLoader.yaml_constructors.keys() == {*before, "!function"}


def _without_places(config: Any) -> str:
    """Return a definition as text; the functions, which are not imported, by their names."""
    return json.dumps(config, default=lambda node: f"{node.tag} {node.value}", sort_keys=True)


def test_a_built_in_task_is_never_shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = TaskManager().task_index["mmmu_val"]["yaml_path"]
    own = tmp_path / "mmmu_val.yaml"
    own.write_text(yaml.safe_dump({"task": "mmmu_val"}), encoding="utf-8")
    monkeypatch.setattr(
        "moe_eval_plugin.plugins.manager.task_folders", lambda: [tasks_path(), tmp_path]
    )
    assert TaskManager().task_index["mmmu_val"]["yaml_path"] == built_in


def test_a_folder_that_the_user_names_comes_before_ours(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(yaml.safe_dump({"task": "okvqa"}), encoding="utf-8")
    index = TaskManager(include_path=str(tmp_path)).task_index
    assert index["okvqa"]["yaml_path"] == str(own)
    assert set(index) >= OURS


@pytest.mark.parametrize("host", [SimpleNamespace(), SimpleNamespace(TaskManager=object)])
def test_a_changed_host_is_left_alone_with_a_way_out(
    host: Any, caplog: pytest.LogCaptureFixture
) -> None:
    module = ModuleType("changed")
    module.__dict__.update(vars(host))
    registration._extend_task_manager(module)
    assert '--include_path "$(moe-eval tasks-path)"' in caplog.text
    assert not hasattr(getattr(module, "TaskManager", object), "initialize_tasks")
