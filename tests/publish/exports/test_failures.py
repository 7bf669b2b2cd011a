"""Scores that count failed requests as wrong answers are not published, and tables say so."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.plugins.manager import registered_exporters
from moe_eval_plugin.publish.exports.failures import IncompleteRunError
from moe_eval_plugin.results.files import read_run
from tests.results.run_files import DATE, FAILURES
from tests.results.sample_runs import results, results_of_another_model
from tests.vqa.vqa_files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.run import Run

PUBLISHED = ("every-eval-ever", "hf-eval-results", "model-index")
TABLES = ("csv", "markdown")


def run_with(folder: Path, *answers: object, ours: bool = False) -> Run:
    """Write a run of okvqa whose samples have these answers, from question 1 on."""
    write_json(folder / f"{DATE}_results.json", results() if ours else results_of_another_model())
    lines = [
        json.dumps({"doc_id": n, "question_id": n, "resps": [[text]], "filtered_resps": ["x"]})
        for n, text in enumerate(answers, start=1)
    ]
    (folder / f"{DATE}_samples_okvqa.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return read_run(folder / f"{DATE}_results.json")


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_score_to_publish_is_refused_and_the_questions_listed(
    tmp_path: Path, name: str, *, ours: bool
) -> None:
    run = run_with(tmp_path, "red", FAILURES[0], None, "blue", ours=ours)
    with pytest.raises(IncompleteRunError, match=r"okvqa: 2 \(first: 2, 3\)") as caught:
        registered_exporters()[name].export([run, run], None)
    assert caught.value.faults == ("failed 2", "failed 3")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", [*PUBLISHED, *TABLES])
def test_a_task_without_failures_is_exported(tmp_path: Path, name: str) -> None:
    exported = registered_exporters()[name].export([run_with(tmp_path, "red", "[ERROR]")], "okvqa")
    assert not any("failed requests" in note for note in exported.notes)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_counts_failures_and_a_note_says_what_they_do_to_the_score(
    tmp_path: Path, name: str
) -> None:
    exported = registered_exporters()[name].export([run_with(tmp_path, *FAILURES, "red")], None)
    (text,) = exported.files.values()
    assert f"{len(FAILURES)} of 5,046 answers are no answers but messages" in exported.notes[0]
    if name == "csv":
        rows = csv.DictReader(io.StringIO(text, newline=""))
        assert {row["n_failed"] for row in rows} == {str(len(FAILURES))}
    else:
        assert f"{len(FAILURES)} of 5,046 answers are no answers but messages" in text


@pytest.mark.parametrize(("ours", "n_notes"), [(True, 0), (False, 1)])
def test_empty_answers_of_another_model_may_be_errors(
    tmp_path: Path, *, ours: bool, n_notes: int
) -> None:
    run = run_with(tmp_path, "red", ours=ours)
    assert run.tasks[0].samples is not None
    run.tasks[0].samples.write_text('{"question_id": 1, "filtered_resps": [" "]}\n', "utf-8")
    notes = registered_exporters()["csv"].export([run], None).notes
    assert len(notes) == n_notes
    assert all("1 answers are empty" in note for note in notes)


def test_failures_are_not_known_without_samples_that_can_be_read(tmp_path: Path) -> None:
    run = run_with(tmp_path, FAILURES[0])
    assert run.tasks[0].samples is not None
    run.tasks[0].samples.write_text("{", "utf-8")
    (text,) = registered_exporters()["csv"].export([run], None).files.values()
    assert {row["n_failed"] for row in csv.DictReader(io.StringIO(text, newline=""))} == {""}
