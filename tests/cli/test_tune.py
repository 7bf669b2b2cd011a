"""The command tunes a real model on real prompts of both hosts, and says what it cannot do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import moe_eval_plugin as moe
from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import read_tuned_file
from moe_eval_plugin.tuning.prices import times
from moe_eval_plugin.tuning.study.folder import StudyPaths
from tests.cli.json_docs import checked_json
from tests.cli.programs import moe_eval

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.programs import Ended

TUNE = (
    *("tune", "demo", "--tasks", "easy_vqa", "--calibration", "16", "--batch-size", "16"),
    *("--device", "cpu"),
)
SETTINGS = ("--target", "0.5", "0.25", "--experts-k", "1", "2", "3", "4", "6", "--policy", "top_p")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A study on 16 training questions, and what the command said."""
    folder = tmp_path_factory.mktemp("tune") / "study"
    return folder, moe_eval(*TUNE, *SETTINGS, "--output", folder)


def test_schedules_lose_no_more_than_the_uniform_k_of_their_price(
    study: tuple[Path, Ended],
) -> None:
    folder, done = study
    assert done.returncode == 0, done.stderr
    found = moe.load_tuning(folder)
    for one in found.schedules:
        point = one.point
        assert point.uniform_loss is not None
        assert 0 < point.loss.mean <= point.uniform_loss.mean
        assert point.price <= point.target
        assert point.uniform_k == 8 * point.target
        assert parse_experts_k(str(one)) == parse_experts_k(point.experts_k)
        assert f"{point.target:g}" in done.stdout
        # Routed experts are a part of all FLOPs, and of all bytes.
        assert point.flops is not None
        assert point.price < point.flops < 1
        assert point.decode_bytes is not None
        assert point.price < point.decode_bytes < 1
    half, quarter = found.schedules
    assert half.point.loss.mean < quarter.point.loss.mean
    sweep = "Next: moe-eval sweep --model-args pretrained=demo --tasks easy_vqa --device cpu"
    assert sweep in " ".join(done.stdout.split())
    assert "moe-eval schedule show" in done.stdout
    assert "Dearer than the uniform k" not in done.stdout  # each target is the price of one


def test_a_schedule_says_on_which_questions_it_was_found(study: tuple[Path, Ended]) -> None:
    folder, _ = study
    record = read_tuned_file(folder / "tuned-0.25.yaml").tuning
    assert record is not None
    (questions,) = record.questions
    assert (questions.split, questions.is_evaluated) == ("train", False)
    assert len(questions.doc_ids) == 16
    assert (record.model, record.method, record.n_tried) == (
        "demo",
        "search",
        moe.load_tuning(folder).study.n_tried,
    )
    # Five k below the published one in each of four layers, and more as whole schedules.
    found = moe.load_tuning(folder).study
    assert len(found.sensitivities.losses) == 20
    of_policies = record.n_tried - 20 - len(found.tried)
    assert len(found.tried) > 2
    assert of_policies >= len(found.policies)


def test_a_policy_is_calibrated_to_each_target(study: tuple[Path, Ended]) -> None:
    folder, done = study
    shown = " ".join(done.stdout.split())
    found = moe.load_tuning(folder)
    assert [path.name for path in found.policies] == ["top_p-0.5.yaml", "top_p-0.25.yaml"]
    for policy in found.study.policies:
        assert policy.price <= policy.target
        tuned = read_tuned_file(folder / f"{policy.name}.yaml")
        assert tuned.policy == policy.experts_policy
        assert tuned.tuning is not None
        assert tuned.tuning.method == "top_p"
        assert f"{policy.name} uses {policy.mean_k:.3g} experts per token" in shown


def test_an_interrupted_study_ends_with_the_same_numbers(
    study: tuple[Path, Ended], tmp_path: Path
) -> None:
    folder, _ = study
    before = json.loads((folder / "tuning.json").read_text("utf-8"))
    lines = (folder / "losses.jsonl").read_text("utf-8").splitlines(keepends=True)
    again = tmp_path / "again"
    again.mkdir()
    (again / "request.json").write_bytes((folder / "request.json").read_bytes())
    # The last line was being written.
    (again / "losses.jsonl").write_text("".join(lines[:30]) + lines[30][:20])
    progress = _Steps()
    asked = {"tasks": "easy_vqa", "calibration": 16, "batch_size": 16, "device": "cpu"}
    tasks = {**asked, "progress": progress}
    settings = {"target": [0.5, 0.25], "experts_k": [1, 2, 3, 4, 6], "policy": "top_p"}
    moe.tune("demo", **tasks, **settings, output=again)  # type: ignore[arg-type]
    after = json.loads((again / "tuning.json").read_text("utf-8"))
    for part in ("frontier", "sensitivities", "tried", "policies", "n_tried"):
        assert after[part] == before[part]
    # One line names what was measured, and one setting has one line in one batch.
    assert progress.n_passes == len(lines) - 30
    # What is finished is read.
    moe.tune("demo", **tasks, **settings, output=again)  # type: ignore[arg-type]
    assert progress.n_passes == len(lines) - 30
    with pytest.raises(InvalidArgumentError, match=r"target was 0.5 0.25 there, and is 0.5 here"):
        moe.tune("demo", **tasks, **{**settings, "target": 0.5}, output=again)  # type: ignore[arg-type]


def test_a_finished_study_says_what_has_changed_since(
    study: tuple[Path, Ended], tmp_path: Path
) -> None:
    folder, done = study
    again = moe_eval(*TUNE, *SETTINGS, "--output", folder)
    assert again.stdout == done.stdout
    assert "has changed" not in again.stderr
    content = json.loads((folder / "tuning.json").read_text("utf-8"))
    content["origin"]["machine"]["name"] = "a machine before"
    content["origin"]["versions"]["torch"] = "1.0"
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "tuning.json").write_text(json.dumps(content), "utf-8")
    (copy / "request.json").write_bytes((folder / "request.json").read_bytes())
    changed = moe_eval(*TUNE, *SETTINGS, "--output", copy)
    assert changed.returncode == 0, changed.stderr
    said = " ".join(changed.stderr.split())
    assert "something has changed (machine: a machine before -> " in said
    assert "; torch: 1.0 -> " in said


def test_a_second_process_in_a_folder_is_refused(tmp_path: Path) -> None:
    asked = {"tasks": "easy_vqa", "calibration": 4, "batch_size": 4, "device": "cpu"}
    with (
        StudyPaths.of(tmp_path / "a" / "study").held(),
        pytest.raises(UserError, match=r"Another moe-eval tune runs in .*study \(process \d+\)"),
    ):
        moe.tune("demo", **asked, output=tmp_path / "a" / "study")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    # A process that was killed before it began its study left a lock, which is no study.
    (tmp_path / ".lock").touch()
    StudyPaths.of(tmp_path).check_place()


class _Steps:
    """Counts the passes of a study."""

    def __init__(self) -> None:
        self.n_passes = 0
        self._unit = ""

    def doing(self, what: str) -> None:
        del what

    def counting(self, what: str, total: int, unit: str) -> None:
        del what, total
        self._unit = unit

    def advance(self, n: int = 1) -> None:
        self.n_passes += n if self._unit == "passes" else 0


def test_lm_eval_prompts_and_measured_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "BUDGET_S", 0.0)
    file = tmp_path / "half.yaml"
    own = ("--calibration", "4", "--batch-size", "4", "--experts-k", "1", "2", "--unit", "time")
    asked = ("--tasks", "easy_vqa", "--host", "lm-eval", *own)
    done = moe_eval("tune", "demo", *asked, "--target", "0.9", "--output", file, "--json")
    assert done.returncode == 0, done.stderr
    found = checked_json("tune", done.stdout)
    assert found["unit"] == "time"
    assert found["notes"][0].startswith("The experts of all layers are ")
    (schedule,) = found["schedules"]
    assert schedule["file"] == str(file)
    assert schedule["uniform_price"] <= 0.9
    assert schedule["price"] <= 0.9
    tuned = read_tuned_file(file)
    assert tuned.tuning is not None
    assert (tuned.tuning.name, tuned.tuning.unit) == ("half", "time")
    assert tuned.tuning.questions[0].host == "lm-eval"
    prices = moe.load_tuning(file).study.prices
    (layer, *_) = prices.cells
    assert prices.by_cell[layer, 1] < prices.by_cell[layer, 8]
    assert prices.spreads[layer, 8].smallest > 0
    assert 0 < prices.fixed < prices.published


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "moe-eval tune needs --tasks, or --data-free."),
        (("-t", "easy_vqa", "--target", "2"), "--target 2 is not possible"),
        (("-t", "easy_vqa", "--target", "0.1"), "Use 0.125 or more."),
        (("-t", "easy_vqa", "--target", "0.2", "--experts-k", "2"), "Use 0.25 or more."),
        (("-t", "easy_vqa", "--experts-k", "8"), "--experts-k 8 is not possible"),
        (("-t", "easy_vqa", "--unit", "time", "--by", "phase"), "exclude each other"),
        (("-t", "easy_vqa", "--policy", "top"), "experts_policy=top is not known"),
        (("-t", "easy_vqa", "--model-args", "experts_k=4"), "experts_k cannot be given"),
        (("-t", "easy_vqa", "--output", "x.yaml"), "all targets are searched"),
        (("-t", "easy_vqa", "--data-free"), "exclude each other"),
    ],
)
def test_what_is_not_possible_is_said_before_weights_are_read(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    output = () if "--output" in arguments else ("--output", "tuned")
    done = moe_eval("tune", "demo", *arguments, *output, cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "loading the weights" not in done.stderr
    assert not list(tmp_path.iterdir())
