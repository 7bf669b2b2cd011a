"""Results of lm-eval: what is read of files that it wrote, and what is said about bad ones."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files import (
    find_results,
    find_run,
    find_runs,
    is_results_file,
    read_run,
)
from moe_eval_plugin.results.record import Score
from tests.results.lm_eval_files import DATE, FOLDER
from tests.results.sample_records import record
from tests.vqa.vqa_files import cut_off, edit_json


@pytest.fixture
def results_file(repository_root: Path, tmp_path: Path) -> Path:
    shutil.copytree(repository_root / FOLDER, tmp_path / "hf")
    return tmp_path / "hf" / f"results_{DATE}.json"


def test_a_run_of_the_plain_host_is_read(results_file: Path) -> None:
    run = find_run(results_file.parents[1])

    assert (run.path, run.host, run.host_version) == (results_file, "lm-eval", "0.4.13")
    assert (run.backend, run.checkpoint, run.limit) == ("hf", "tiny", None)
    assert run.date == datetime(2026, 11, 28, 19, 55, 14, 91486, UTC)
    assert run.settings["model_args"] == {"pretrained": "tiny", "dtype": "float32"}
    assert run.settings["fewshot_seed"] == 1234
    assert [task.task for task in run.tasks] == ["sums", "last_word", "numbers", "prose"]
    assert all(task.record is None and task.host == "lm-eval" for task in run.tasks)


def test_scores_of_several_filters_have_a_name_each(results_file: Path) -> None:
    task = read_run(results_file).task("numbers")

    strict, flexible = task.scores
    assert (strict.metric, strict.value) == ("exact_match,strict-match", 0.0)
    assert (flexible.metric, flexible.value) == (
        "exact_match,flexible-extract",
        pytest.approx(1 / 3),
    )
    assert flexible.stderr == pytest.approx(1 / 3)
    assert flexible.higher_is_better is True
    assert task.main_metric == "exact_match,strict-match"
    assert task.filters == ("strict-match", "flexible-extract")
    assert task.is_mean("exact_match,flexible-extract")


@pytest.mark.parametrize(
    ("task", "main"),
    [("sums", "acc"), ("last_word", "acc"), ("prose", "word_perplexity")],
)
def test_the_first_mean_is_compared_or_else_the_first_score(
    results_file: Path, task: str, main: str
) -> None:
    assert read_run(results_file).task(task).main_metric == main


def test_a_task_that_lists_no_metric_has_its_first_score(results_file: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["configs"]["sums"]["metric_list"]
        content["results"]["sums"] = {"samples_per_s,none": 5.0, **content["results"]["sums"]}

    edit_json(results_file, change)
    assert read_run(results_file).task("sums").main_metric == "acc"


def test_the_score_of_the_record_comes_first(results_file: Path) -> None:
    stored = record("sums", score=Score("acc_norm", 0.0)).to_dict()
    edit_json(results_file, lambda content: content.update(moe_eval={"sums": stored}))

    task = read_run(results_file).task("sums")

    assert task.main_metric == "acc_norm"
    assert task.record is not None
    assert task.record.score == Score("acc_norm", 0.0)


def test_arguments_of_the_model_are_no_settings_of_tasks(results_file: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["config"]["model_args"]["revision"] = "abc"
        content["configs"]["sums"]["metadata"] |= {"revision": "abc", "max_seq_lengths": [4096]}

    edit_json(results_file, change)
    settings = read_run(results_file).task("sums").settings
    assert settings["revision"] is None
    assert settings["metadata"] == {"max_seq_lengths": [4096]}
    assert settings["version"] == 1.0


def test_what_decides_the_prompts_is_a_setting(results_file: Path) -> None:
    settings = read_run(results_file).task("numbers").settings
    assert settings["num_fewshot"] == 1
    assert settings["generation_kwargs"] == {"until": ["\n"], "max_gen_toks": 6}
    assert settings["prompts and targets"].startswith("7691c367")


def test_options_of_our_command_are_options_of_the_run(results_file: Path) -> None:
    options = {"include_path": "tasks", "num_fewshot": 2}
    command = {"program": "moe-eval lm-eval run", "options": options}
    edit_json(results_file, lambda content: content.update(moe_eval_command=command, git_hash="1a"))

    run = read_run(results_file)

    assert (run.include_path, run.options["num_fewshot"]) == ("tasks", 2)
    assert (run.options["device"], run.code_revision) == ("cpu", "1a")


def test_a_file_name_of_the_user_is_found_with_its_samples(results_file: Path) -> None:
    renamed = results_file.rename(results_file.with_name(f"my.run_{DATE}.json"))

    (run,) = find_runs(renamed.parent)

    assert run.path == renamed
    assert all(task.samples is not None for task in run.tasks)
    assert find_results(renamed.parent) == renamed


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (f"results_{DATE}.json", True),
        ("results_2026-11-28T19-55-25.json", True),
        (f"samples_sums_{DATE}.jsonl", False),
        ("20261122_115616_results.json", True),
        ("results.json", False),
        ("v2_OpenEnded_mscoco_val2014_demo_results.json", False),
        ("config_2026.json", False),
    ],
)
def test_results_files_are_known_by_their_names(name: str, is_one: bool) -> None:
    assert is_results_file(Path("run", name)) is is_one


def test_missing_samples_are_said_after_a_run(results_file: Path) -> None:
    (results_file.parent / f"samples_prose_{DATE}.jsonl").unlink()
    assert read_run(results_file).task("prose").samples is None
    with pytest.raises(RuntimeError, match="no samples of prose"):
        find_results(results_file.parent)


def test_a_file_that_was_cut_off_is_refused(results_file: Path) -> None:
    cut_off(results_file)
    with pytest.raises(DataError, match="is not complete JSON"):
        find_run(results_file)


@pytest.mark.parametrize("value", [None, [], 7, {"sums": None}, {"sums": []}])
@pytest.mark.parametrize(
    "key", ["n-samples", "n-shot", "higher_is_better", "moe_eval", "task_hashes", "date"]
)
def test_parts_that_are_not_needed_may_have_another_form(
    results_file: Path, key: str, value: object
) -> None:
    edit_json(results_file, lambda content: content.update({key: value}))
    assert read_run(results_file).task("sums").score("acc") is not None


def test_filters_of_another_form_are_none(results_file: Path) -> None:
    edit_json(results_file, lambda content: content["configs"]["sums"].update(filter_list=7))
    assert read_run(results_file).task("sums").filters == ("none",)


def test_rows_of_another_form_are_refused(results_file: Path) -> None:
    edit_json(results_file, lambda content: content["results"].update(sums=0.5))
    with pytest.raises(DataError, match=r"the results of sums are 0\.5"):
        read_run(results_file)
