"""The table of a sweep: what its rows are compared with, and what is not known."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.measure.answer_ends import AnswerEnds
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.record import Score
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.table import Table
from tests.results.run_files import write_run
from tests.results.sample_records import experts, record
from tests.results.timing.timed_files import timed_pass
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = {"okvqa": [{"question_id": 1, "filtered_resps": "red"}]}


def write_point(folder: Path, score: float, rate: float, observed: float = 4) -> Path:
    path = write_run(folder, SAMPLES)
    known = record(
        "okvqa",
        experts=experts(observed=observed),
        speed=TaskSpeed(100, None, 200, 100 / rate),
        score=Score("vqa_accuracy", score),
    )
    edit_json(path, lambda content: content.update(moe_eval={"okvqa": known.to_dict()}))
    return path


def point(k: int, seed: int | None = None) -> dict[str, object]:
    return SweepPoint(f"k{k}", str(k), seed=seed, is_baseline=k == 8).to_dict()


def test_rows_are_compared_with_the_baseline_of_their_seed(tmp_path: Path) -> None:
    table = Table()
    for seed, (score, rate) in enumerate([(0.5, 10.0), (0.75, 20.0)]):
        table.add(point(8, seed), write_point(tmp_path / f"8-{seed}", score, rate))
        table.add(point(4, seed), write_point(tmp_path / f"4-{seed}", 0.25, 40.0))
    compared = [(row.difference, row.ratio) for row in table.rows]
    assert compared == [(None, None), (-0.25, 4.0), (None, None), (-0.5, 2.0)]


POINTS = (SweepPoint("k8", "8", is_baseline=True), SweepPoint("k4", "4"))


def test_a_row_is_as_wide_as_the_header(tmp_path: Path) -> None:
    table = Table(POINTS, ["okvqa", "vqa_v2_val"])
    table.add(point(8), write_point(tmp_path / "8", 1.0, 10.0, 8))
    (row,) = table.add(point(4), write_point(tmp_path / "4", 0.5, 40.0, 3.5))
    cells = ["k=4", "okvqa", "3.50", "50.00%", "\N{MINUS SIGN}50.00", "40.00"]
    assert table.render(row).split() == cells
    assert len(table.render(row)) == len(table.header()) <= 80
    assert "4.00" not in table.render(row)


def test_the_name_of_the_only_task_is_not_repeated(tmp_path: Path) -> None:
    table = Table(POINTS, ["okvqa"])
    (row,) = table.add(point(8), write_point(tmp_path / "8", 1.0, 10.0, 8))
    assert table.header().split() == ["setting", "observed", "accuracy", "points", "questions/s"]
    assert table.render(row).split() == ["k=8", "8.00", "100.00%", "10.00"]


def test_long_names_take_the_place_of_the_observed_k(tmp_path: Path) -> None:
    table = Table([SweepPoint("k" * 54, "4")], ["okvqa", "vqa_v2_val"])
    (row,) = table.add(point(4), write_point(tmp_path / "4", 0.5, 40.0))
    assert "observed" not in table.header()
    assert len(table.header()) == len(table.render(row)) <= 100


def test_a_speed_up_of_task_throughput_was_timed_once(tmp_path: Path) -> None:
    table = Table(POINTS, ["okvqa"])
    table.add(point(8), write_point(tmp_path / "8", 1.0, 10.0, 8))
    table.add(point(4), write_point(tmp_path / "4", 0.5, 40.0))
    assert "k=4, okvqa: 4.00×, timed once" in table.timed_once()
    assert [row.ratio for row in table.with_timed_passes(tmp_path, [])] == [None, 4.0]


def test_a_speed_up_is_that_of_the_timed_pass_for_each_seed(tmp_path: Path) -> None:
    table = Table(POINTS, ["okvqa"])
    for seed, name in itertools.product((1, 2), ("k8", "k4")):
        named = SweepPoint(f"{name}-seed{seed}", name[1:], seed=seed, is_baseline=name == "k8")
        table.add(named.to_dict(), write_point(tmp_path / named.name, 0.5, 10.0))
    seconds = {"k8-seed1": [2.0] * 8, "k4-seed1": [1.6] * 8}
    passes = [timed_pass(seconds, "okvqa", size) for size in (1, 16)]
    rows = table.with_timed_passes(tmp_path, passes)
    assert [(row.ratio, row.ratio_batch_size) for row in rows] == [(None, None), (1.25, 16)] * 2
    assert rows[1].ratio_interval == (1.25, 1.25)


def test_what_another_model_does_not_tell_is_not_known(tmp_path: Path) -> None:
    table = Table()
    (row,) = table.add(point(8), write_run(tmp_path, SAMPLES))
    assert (row.observed_num_experts_per_tok, row.score, row.samples_per_s) == (None, None, None)
    assert table.render(row).split()[2:] == []


@pytest.mark.parametrize("field", ["difference", "ratio"])
def test_nothing_is_compared_without_a_baseline(tmp_path: Path, field: str) -> None:
    (row,) = Table().add(point(4), write_point(tmp_path, 0.5, 10.0))
    assert row.to_dict()[field] is None


def test_answers_that_were_cut_are_noted(tmp_path: Path) -> None:
    path = write_point(tmp_path, 0.0, 10.0)
    ends = AnswerEnds(100, 80, 0, 20, 12, 16)
    known = record("okvqa", answers=ends)
    edit_json(path, lambda content: content.update(moe_eval={"okvqa": known.to_dict()}))
    (row,) = Table().add(point(4), path)
    assert row.to_dict()["answers"] == ends.to_dict()
    assert row.note == (
        "k=4, okvqa: 12 of 100 answers end inside a thought at max_new_tokens=16; 20 of 100 "
        "answers were cut at max_new_tokens=16."
    )


def test_a_row_without_cut_answers_has_no_note(tmp_path: Path) -> None:
    (row,) = Table().add(point(4), write_point(tmp_path, 0.0, 10.0))
    assert (row.answers, row.note) == (None, None)
