from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files import read_run
from tests.results.run_files import write_run
from tests.results.sample_records import record
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def test_our_own_record_names_the_checkpoint_where_the_arguments_do_not(results_file: Path) -> None:
    known = record("okvqa", provenance={"pretrained": "demo"})
    stored = {"okvqa": known.to_dict()}
    edit_json(results_file, lambda content: content.update(model_name="", moe_eval=stored))
    run = read_run(results_file)
    assert (run.checkpoint, run.tasks[0].record) == ("demo", known)


def test_a_checkpoint_that_nobody_names_is_unknown(results_file: Path) -> None:
    edit_json(results_file, lambda content: content.update(model_name=""))
    assert read_run(results_file).checkpoint == "unknown"


def test_a_task_that_is_not_there_is_refused_with_those_that_are(results_file: Path) -> None:
    with pytest.raises(DataError, match="has no task easy_vqa; its tasks: okvqa"):
        read_run(results_file).task("easy_vqa")


def test_one_of_several_tasks_must_be_named(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, {"okvqa": [], "easy_vqa": []}))
    assert run.task("easy_vqa").task == "easy_vqa"
    with pytest.raises(DataError, match="has more than one task; its tasks: okvqa, easy_vqa"):
        run.task(None)


def test_a_run_without_tasks_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no task; its tasks: none"):
        read_run(write_run(tmp_path, {})).task(None)
