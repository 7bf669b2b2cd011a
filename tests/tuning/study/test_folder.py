"""A study is read back as it was written; its folder belongs to one request."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.experts.schedules.tuned_file import read_tuned_file
from moe_eval_plugin.experts.schedules.tuning_record import CalibrationQuestions
from moe_eval_plugin.stats.speed import Spread
from moe_eval_plugin.tuning.frontier.frontier import find_frontier
from moe_eval_plugin.tuning.prompts.request import CalibrationRequest
from moe_eval_plugin.tuning.sensitivities import Loss
from moe_eval_plugin.tuning.study.folder import STUDY, StudyPaths, read_study
from moe_eval_plugin.tuning.study.request import TuneRequest
from moe_eval_plugin.tuning.study.study import CalibratedPolicy, Origin, TuningStudy
from tests.tuning.known_losses import CELLS, PRICES, Machine, sensitivities

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS = (CalibrationQuestions("easy_vqa", "lmms-eval", "train", (3, 5), is_evaluated=False),)
REQUEST = TuneRequest(CalibrationRequest("demo", ("easy_vqa",)), targets=(0.5, 0.75))
LOSS = Loss(np.array([0.25, 0.5]))


@pytest.fixture(scope="module")
def study() -> TuningStudy:
    frontier = find_frontier(sensitivities(), PRICES, REQUEST.targets, Machine(1))
    policy = CalibratedPolicy(0.5, "top_p-0.5", "top_p:0.7", 1.9, 0.475, LOSS)
    return TuningStudy(
        origin=Origin(
            "demo",
            "abc",
            "moe-eval tune demo",
            "2026-01-01",
            {"threads": 2},
            {"torch": "2", "x": None},
            {},
        ),
        by="layer",
        sensitivities=sensitivities(),
        prices=replace(
            PRICES, spreads={(CELLS[0], 1): Spread(1.0, 0.5, 2.0, 8)}, notes=("Noisy.",)
        ),
        points=frontier.points,
        tried={str(ks): loss for ks, loss in frontier.losses.items()},
        n_tried=frontier.n_tried + 1,
        n_prompts=2,
        questions=QUESTIONS,
        seed=3,
        policies=(policy,),
    )


def test_a_study_is_read_back_as_it_was_written(study: TuningStudy, tmp_path: Path) -> None:
    paths = StudyPaths.of(tmp_path / "study")
    paths.begin(REQUEST.settings())
    files = paths.write(study)
    assert [path.name for path in files] == ["tuned-0.75.yaml", "tuned-0.5.yaml", "top_p-0.5.yaml"]
    found = read_study(paths.folder)
    for name in ("origin", "by", "prices", "n_prompts", "questions", "seed", "notes", "n_tried"):
        assert getattr(found, name) == getattr(study, name)
    for one, other in zip(found.points, study.points, strict=True):
        assert one.loss.by_prompt == pytest.approx(other.loss.by_prompt)
        assert found.record(one) == study.record(other)
        assert one.verdict == other.verdict
    assert found.sensitivities.ks == study.sensitivities.ks
    assert found.sensitivities.mean(CELLS[1], 2) == study.sensitivities.mean(CELLS[1], 2)
    assert found.policy_record(found.policies[0]) == study.policy_record(study.policies[0])


def test_files_of_schedules_and_policies_say_how_they_were_found(
    study: TuningStudy, tmp_path: Path
) -> None:
    paths = StudyPaths.of(tmp_path / "study")
    paths.write(study)
    tuned = read_tuned_file(tmp_path / "study" / "tuned-0.5.yaml")
    assert tuned.schedule is not None
    assert tuned.schedule.text == study.points[1].experts_k
    assert tuned.tuning == study.record(study.points[1])
    assert tuned.tuning.doc_ids("easy_vqa") == set()
    assert tuned.sensitivities[1] == {"layer": 1, 1: 18.0, 2: 8.0, 3: 2.0}
    assert len(tuned.sensitivities) == len(CELLS)
    assert (tuned.tuning.n_tried, tuned.tuning.uniform_k) == (len(study.tried) + 1, 2)
    policy = read_tuned_file(tmp_path / "study" / "top_p-0.5.yaml")
    assert (policy.policy, policy.tuning) == ("top_p:0.7", study.policy_record(study.policies[0]))
    with (paths.folder / "frontier.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["tuned-0.75", "tuned-0.5"]
    assert float(rows[1]["difference"]) < 0
    with (paths.folder / "sensitivities.csv").open() as file:
        of_cells = list(csv.DictReader(file))
    assert len(of_cells) == len(study.sensitivities.losses)
    assert float(of_cells[0]["price"]) == 1 / 16


def test_tasks_that_differ_in_expected_answers_alone_have_the_same_questions(
    study: TuningStudy,
) -> None:
    own = CalibrationQuestions("okvqa", "lmms-eval", "val2014", (3, 5), is_evaluated=True)
    record = replace(study.record(study.points[0]), questions=(own,))
    assert record.doc_ids("okvqa_raw") == record.doc_ids("okvqa") == {3, 5}
    assert record.doc_ids("vqa_v2_val") == set()
    raw = replace(record, questions=(replace(own, task="okvqa_raw"),))
    assert raw.doc_ids("okvqa") == {3, 5}


def test_the_target_of_a_policy_is_in_experts_whatever_the_prices_count(study: TuningStudy) -> None:
    # As much as all cells cost as published does not depend on k.
    fixed = float(PRICES.steps(PRICES.uniform(4)))
    in_flops = replace(PRICES, unit="flops", fixed=fixed)
    policy = replace(study.policies[0], target=0.75)
    record = replace(study, prices=in_flops).policy_record(policy)
    assert (record.unit, record.target) == ("experts", 0.5)
    assert study.policy_record(policy).target == 0.75


def test_files_that_are_gone_are_written_again(study: TuningStudy, tmp_path: Path) -> None:
    paths = StudyPaths.of(tmp_path / "study")
    _, gone, _ = paths.write(study)
    before = gone.read_text("utf-8")
    kept = paths.file("tuned-0.75")
    kept.write_text("mine", "utf-8")
    gone.unlink()
    paths.write_missing(study)
    assert gone.read_text("utf-8") == before
    assert kept.read_text("utf-8") == "mine"


def test_one_schedule_may_be_written_to_a_file_of_its_own(
    study: TuningStudy, tmp_path: Path
) -> None:
    paths = StudyPaths.of(tmp_path / "mine.yaml")
    assert (paths.folder, paths.name(0.5)) == (tmp_path / "mine", "mine")
    own = replace(study, points=(replace(study.points[1], name="mine"),), policies=())
    paths.begin(REQUEST.settings())
    assert paths.write(own) == [tmp_path / "mine.yaml"]
    tuned = read_tuned_file(tmp_path / "mine.yaml")
    assert tuned.tuning is not None
    assert tuned.tuning.name == "mine"
    assert read_study(tmp_path / "mine").points[0].name == "mine"


def test_a_folder_belongs_to_one_request(tmp_path: Path) -> None:
    paths = StudyPaths.of(tmp_path / "study")
    paths.begin(REQUEST.settings())
    paths.check(REQUEST.settings())
    with pytest.raises(DataError, match="no finished study"):
        read_study(paths.folder)
    other = replace(REQUEST, targets=(0.5,)).settings()
    with pytest.raises(InvalidArgumentError, match=r"--target was 0.75 0.5 there, and is 0.5 here"):
        paths.check(other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(InvalidArgumentError, match="is not empty, and moe-eval tune did not write"):
        StudyPaths.of(tmp_path / "full").check(other)
    (tmp_path / "old.yaml").touch()
    with pytest.raises(InvalidArgumentError, match=r"old.yaml exists"):
        StudyPaths.of(tmp_path / "old.yaml").check(other)


def test_nothing_is_left_of_files_that_cannot_all_be_written(
    study: TuningStudy, tmp_path: Path
) -> None:
    (tmp_path / STUDY).mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        StudyPaths.of(tmp_path).write(study)
    assert [path.name for path in tmp_path.iterdir()] == [STUDY]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "time", "by": "modality"}, "--unit time and --by modality exclude each other"),
        (
            {"calibration": CalibrationRequest("demo", (), data_free=True), "by": "phase"},
            "--data-free and --by phase exclude each other",
        ),
        ({"unit": "money"}, "--unit=money"),
        ({"by": "token"}, "--by=token"),
        ({"targets": (1.5,)}, "--target 1.5 is not possible"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        replace(REQUEST, **changes)
