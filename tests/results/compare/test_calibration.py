"""Questions that took part in choosing a setting take no part in comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.compare.compare import Options, compare_runs
from moe_eval_plugin.results.compare.sweep import SweepRun, compare_sweep
from moe_eval_plugin.results.compare.sweep_text import render_sweep
from moe_eval_plugin.results.files import read_run
from tests.report.report_runs import records, right, write_run, wrong_every
from tests.report.schedule_runs import SEARCHED, tuning_record, write_setting
from tests.results.compare.compared_runs import QUICK

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS = records(60)


def write_tuned(folder: Path, n_chosen: int) -> Path:
    tuning = tuning_record(doc_ids=range(n_chosen))
    return write_setting(folder, wrong_every(3), QUESTIONS, experts_k=SEARCHED, tuning=tuning)


def test_they_are_left_out_of_two_runs_with_a_note(tmp_path: Path) -> None:
    a = read_run(write_run(tmp_path / "a", 8, right, QUESTIONS))
    b = read_run(write_tuned(tmp_path / "b", 40))

    (task,) = compare_runs(a, b, options=Options(bootstrap=QUICK)).tasks

    assert task.n_questions == 20
    assert task.notes[0] == "40 questions took part in choosing tuned-0.25, and are left out."
    assert not any("cut off" in note for note in task.notes)
    assert task.kinds == ("uniform k", "searched schedule")
    assert task.prices == (8.0, 2.0)
    settings = {one.name: (one.a, one.b) for one in task.settings}
    assert settings["chosen as"] == (None, "tuned-0.25")
    assert settings["kind"] == ("uniform k", "searched schedule")
    # The record with all numbers of questions is no setting to read.
    assert "tuning" not in settings


def test_they_are_left_out_for_every_setting_of_a_sweep(tmp_path: Path) -> None:
    runs = [
        SweepRun("k8", read_run(write_run(tmp_path / "k8", 8, right, QUESTIONS)), is_baseline=True),
        SweepRun("k4", read_run(write_run(tmp_path / "k4", 4, right, QUESTIONS))),
        SweepRun("tuned-0.25", read_run(write_tuned(tmp_path / "t", 40))),
    ]

    found = compare_sweep("runs/demo", runs, options=Options(bootstrap=QUICK))

    assert {name: task.n_questions for name, task in found.tasks} == {"k4": 20, "tuned-0.25": 20}
    rows = [line.split() for line in render_sweep(found).splitlines() if line]
    assert ["k=4", "uniform", "4.00"] in [row[:3] for row in rows]
    assert ["tuned-0.25", "searched", "2.00"] in [row[:3] for row in rows]


def test_a_sweep_of_uniform_k_alone_shows_no_kinds(tmp_path: Path) -> None:
    runs = [
        SweepRun("k8", read_run(write_run(tmp_path / "k8", 8, right, QUESTIONS)), is_baseline=True),
        SweepRun("k4", read_run(write_run(tmp_path / "k4", 4, right, QUESTIONS))),
    ]

    text = render_sweep(compare_sweep("runs/demo", runs, options=Options(bootstrap=QUICK)))

    assert "kind" not in text
    assert "experts" not in text


def test_runs_of_which_no_other_question_is_left_are_refused(tmp_path: Path) -> None:
    a = read_run(write_run(tmp_path / "a", 8, right, QUESTIONS))
    b = read_run(write_tuned(tmp_path / "b", 60))

    with pytest.raises(DataError, match="cannot judge it, and no other is left"):
        compare_runs(a, b)
