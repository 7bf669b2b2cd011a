"""The list of tasks, which imports neither torch nor a host."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from moe_eval_plugin.tasks import tasks_path
from moe_eval_plugin.tasks.listing import list_tasks
from tests.cli.programs import moe_eval, start

if TYPE_CHECKING:
    import pytest


def test_every_definition_is_listed_with_questions_and_scores() -> None:
    run = moe_eval("tasks", COLUMNS=80)
    rows = {line.split()[0]: line.split() for line in run.stdout.splitlines() if line.strip()}
    for path in tasks_path().glob("[!_]*.yaml"):
        assert path.stem in rows
    assert rows["easy_vqa"][1:4] == ["9,673", "exact_match", "ready"]
    assert rows["okvqa_raw"][1] == "5,046"
    assert max(map(len, run.stdout.splitlines())) <= 80


def test_tasks_are_json_with_the_names_of_all() -> None:
    found = json.loads(moe_eval("tasks", "--json", "--all").stdout)
    (group,) = [one for one in found["tasks"] if one["members"]]
    assert (group["name"], group["members"]) == ("moe_vqa", ["okvqa", "vqa_v2_val"])
    assert {"okvqa", "mme", "easy_vqa"} <= set(found["all"])
    assert json.loads(moe_eval("tasks", "--json").stdout)["all"] is None


def test_the_tasks_of_the_other_host_are_the_same_in_its_own_folder() -> None:
    first, listed = list_tasks("lmms-eval"), list_tasks("lm-eval")
    # A suite of text tasks, which lmms-eval does not have.
    second = [task for task in listed if task.name != "flame_moe"]
    assert len(second) < len(listed)
    assert [replace(task, definition="") for task in second] == [
        replace(task, definition="") for task in first
    ]
    assert {Path(task.definition).parent for task in second} == {tasks_path("lm-eval")}
    run = moe_eval("tasks", "--host", "lm-eval")
    assert run.stdout.splitlines()[-1].endswith("`moe-eval tasks --host lm-eval --all`.")
    assert "mmlu_anatomy" in moe_eval("tasks", "--host", "lm-eval", "--all").stdout.splitlines()


def test_local_data_are_ready_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path))
    states = {task.name: task.is_there for task in list_tasks()}
    assert (states["easy_vqa"], states["okvqa"], states["vqa_v2_val"]) == (True, False, False)


def test_a_definition_of_lmms_eval_is_read_the_same_way() -> None:
    # What is listed is what the definition says after its includes.
    text = yaml.safe_load((tasks_path() / "moe_vqa.yaml").read_text("utf-8"))
    (group,) = [one for one in list_tasks() if one.name == "moe_vqa"]
    assert group.members == tuple(text["task"])
    assert group.scores == ("vqa_accuracy", "vqa_accuracy_official")


def test_the_list_imports_nothing_heavy() -> None:
    program = (
        "import sys; from moe_eval_plugin.cli import main; main(['tasks', '--host', 'lm-eval']); "
        "print([m for m in ('torch', 'transformers', 'lmms_eval', 'lm_eval') if m in sys.modules])"
    )
    assert start(sys.executable, "-c", program).stdout.splitlines()[-1] == "[]"
