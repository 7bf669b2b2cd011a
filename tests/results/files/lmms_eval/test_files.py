"""Results and samples of lmms-eval: what is read, and what is said about bad files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files import find_run, find_runs, read_lines, read_run
from tests.results.run_files import DATE, write_run
from tests.vqa.vqa_files import cut_off, edit_json, write_json

if TYPE_CHECKING:
    from pathlib import Path


LINE_SEPARATORS = "\u2028\u2029\u0085\v\f"


def test_a_run_is_read(results_file: Path) -> None:
    run = read_run(results_file)
    assert (run.path, run.backend, run.checkpoint) == (results_file, "qwen3_vl", "Qwen/Qwen3-VL-4B")
    task = run.task("okvqa")
    assert task is run.task(None)
    assert (task.n_samples, task.data.n_questions, task.record) == (1, 1, None)
    assert task.samples == results_file.with_name(f"{DATE}_samples_okvqa.jsonl")


def test_rows_have_values_errors_and_directions(results_file: Path) -> None:
    (task,) = read_run(results_file).tasks
    assert [score.metric for score in task.scores] == ["vqa_accuracy", "samples_per_s"]
    accuracy, speed = task.scores
    assert (accuracy.value, accuracy.stderr, accuracy.higher_is_better) == (0.5, 0.25, True)
    assert (speed.value, speed.stderr, speed.higher_is_better) == (7.0, None, None)
    assert task.score("samples_per_s") == speed
    assert task.score("exact_match") is None


@pytest.mark.parametrize("value", ["N/A", None, True, float("nan"), float("inf")])
def test_what_is_no_number_is_no_score(results_file: Path, value: object) -> None:
    def change(content: dict[str, Any]) -> None:
        content["results"]["okvqa"] |= {"vqa_accuracy,none": value, "samples_per_s,none": 7}
        content["results"]["okvqa"]["samples_per_s_stderr,none"] = value

    edit_json(results_file, change)
    (score,) = read_run(results_file).tasks[0].scores
    assert (score.metric, score.stderr) == ("samples_per_s", None)


def test_a_group_is_no_task_of_its_own(results_file: Path) -> None:
    edit_json(
        results_file, lambda content: content["results"].update(moe_vqa={"vqa_accuracy,none": 0.5})
    )
    assert [task.task for task in read_run(results_file).tasks] == ["okvqa"]


def test_a_run_without_samples_has_none(results_file: Path) -> None:
    (samples,) = results_file.parent.glob("*.jsonl")
    samples.unlink()
    assert read_run(results_file).tasks[0].samples is None


def test_a_folder_is_searched_to_its_bottom(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name / "model", {}) for name in ("b", "a"))
    assert [run.path for run in find_runs(tmp_path)] == [second, first]
    assert find_run(first).path == find_run(tmp_path / "b").path == first
    with pytest.raises(DataError, match="2 runs") as caught:
        find_run(tmp_path)
    assert f"{second}\n  {first}" in str(caught.value)


def test_what_was_exported_beside_a_run_is_no_run(results_file: Path) -> None:
    write_json(results_file.with_name("v2_OpenEnded_mscoco_val2014_demo_results.json"), [])
    (results_file.parent / f"{DATE}_2_results.json").mkdir()
    assert [run.path for run in find_runs(results_file.parent)] == [results_file]


@pytest.mark.parametrize("name", ["", "not/there"])
def test_a_folder_without_runs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="--output_path"):
        find_runs(tmp_path / name)


def test_a_results_file_that_was_cut_off_is_refused(results_file: Path) -> None:
    cut_off(results_file)
    with pytest.raises(DataError, match="is not complete JSON") as caught:
        find_runs(results_file)
    assert str(results_file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds a list"),
        ("7", "holds a int"),
        ('{"accuracy": 0.5}', "no results and no configs and no config"),
        ('{"results": [], "configs": {}, "config": {}}', "it has no results"),
        ("[" * 100_000, "is not complete JSON"),
    ],
)
def test_a_file_of_another_tool_is_refused(results_file: Path, text: str, said: str) -> None:
    results_file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_run(results_file)


def test_a_file_that_is_not_utf8_is_refused(results_file: Path) -> None:
    results_file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="is not complete JSON"):
        read_run(results_file)


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path)


@pytest.mark.parametrize("key", ["n-samples", "higher_is_better", "moe_eval"])
@pytest.mark.parametrize("value", [None, [], 7, {"okvqa": None}])
def test_parts_that_are_not_needed_may_have_another_form(
    results_file: Path, key: str, value: object
) -> None:
    edit_json(results_file, lambda content: content.update({key: value}))
    assert read_run(results_file).tasks[0].score("vqa_accuracy") is not None


def test_rows_of_another_form_are_refused(results_file: Path) -> None:
    edit_json(results_file, lambda content: content["results"].update(okvqa=0.5))
    with pytest.raises(DataError, match=r"the results of okvqa are 0\.5"):
        read_run(results_file)


def samples_of(results_file: Path) -> Path:
    path = read_run(results_file).tasks[0].samples
    assert path is not None
    return path


def test_samples_are_read_in_their_order(tmp_path: Path) -> None:
    written = [{"question_id": number} for number in (3, 1, 2)]
    assert list(read_lines(samples_of(write_run(tmp_path, {"okvqa": written})))) == written


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_every_text_is_read_as_the_host_writes_it(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    written = [{"filtered_resps": text + LINE_SEPARATORS} for text in texts]
    path = tmp_path_factory.mktemp("samples") / "samples.jsonl"
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in written]
    path.write_text("".join(lines), encoding="utf-8")
    assert list(read_lines(path)) == written


@pytest.mark.parametrize(
    "line", ['{"question_id": 4', "", "null", "[1, 2]", '"red"', "[" * 100_000]
)
def test_a_broken_sample_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    path = samples_of(write_run(tmp_path, {"okvqa": [{"question_id": 1}]}))
    with path.open("a", encoding="utf-8") as results_file:
        results_file.write(f'{line}\n{{"question_id": 2}}\n')
    with pytest.raises(DataError, match="line 2, is not a sample") as caught:
        list(read_lines(path))
    assert str(path) in str(caught.value)


def test_samples_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_bytes(b'{"filtered_resps": "\xff"}\n')
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(tmp_path / "samples.jsonl"))


def test_samples_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(tmp_path / "samples.jsonl"))
