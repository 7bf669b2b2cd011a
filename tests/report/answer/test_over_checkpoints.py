"""Effects over checkpoints in a report: pooled, refused, and shown on the page and in files."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.cli import main
from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.answer.over_checkpoints import TaskOverCheckpoints, over_checkpoints
from moe_eval_plugin.report.build import Options, build
from moe_eval_plugin.report.read_series import read_series
from tests.cli.programs import moe_eval
from tests.report.report_runs import (
    TASK,
    in_provenance,
    one_per_image,
    right,
    write_run,
    wrong_every,
)
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

N = 120


def write_checkpoints(folder: Path, steps: Sequence[int], rates: Sequence[float] = ()) -> Path:
    """Write a checkpoint for each step: at k=4 every so-manieth answer is wrong."""
    for number, step in enumerate(steps):
        name, questions = f"seed{number}", one_per_image(N)
        rate = rates[number] if rates else 15.0
        for k, answer, speed in ((8, right, 10.0), (4, wrong_every(step), rate)):
            path = write_run(
                folder / name / f"k{k}", k, answer, questions, rate=speed, pretrained=name
            )
            edit_json(path, in_provenance("routed_flop_share", k / 20))
    return folder


def pooled(*paths: Path) -> tuple[TaskOverCheckpoints, ...]:
    return over_checkpoints([compute(one, 1.0) for one in read_series(paths)])


def test_the_effect_is_the_mean_over_checkpoints(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, (10, 5, 4), (12.0, 15.0, 18.0))
    (task,) = pooled(tmp_path)
    (setting,) = task.settings
    found = setting.difference
    assert (task.task, setting.label, len(task.checkpoints)) == (TASK, "k=4", 3)
    assert found.differences == pytest.approx((-0.1, -0.2, -0.25))
    assert found.difference == pytest.approx(-0.55 / 3)
    assert (found.signs.n_lower, found.signs.p_value) == (3, 0.25)
    assert found.interval is not None
    assert found.over_checkpoints is not None
    assert found.interval.low < found.over_checkpoints.low
    assert found.n_questions == found.n_clusters == N
    assert setting.speed_up is not None
    assert setting.speed_up.ratios == pytest.approx((1.2, 1.5, 1.8))
    assert setting.routed_flop_share == pytest.approx(0.2)
    assert "signs of 3 checkpoints cannot be significant" in task.notes[0]
    assert "0.25" in task.notes[0]


@pytest.mark.parametrize(
    ("steps", "words"),
    [((10,), "There is one checkpoint"), ((10, 5), "Two checkpoints show whether they agree")],
)
def test_few_checkpoints_are_said_to_be_few(
    tmp_path: Path, steps: tuple[int, ...], words: str
) -> None:
    (task,) = pooled(write_checkpoints(tmp_path, steps))
    assert words in task.notes[0]
    assert (task.settings[0].difference.interval is None) == (len(steps) == 1)


def test_only_questions_that_all_checkpoints_answered_count(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, (10, 5))
    fewer = one_per_image(N)[:60]
    for k in (8, 4):
        write_run(tmp_path / "seed1" / f"k{k}", k, right, fewer, pretrained="seed1")
    (task,) = pooled(tmp_path)
    assert task.settings[0].difference.n_questions == len(fewer)


def test_what_is_no_checkpoint_of_the_same_model_is_refused(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, (10, 5))
    again = [
        write_run(tmp_path / "again" / f"k{k}", k, right, one_per_image(N), pretrained="seed0")
        for k in (8, 4)
    ]
    for path in again:
        edit_json(path, in_provenance("dtype", "float64"))
    with pytest.raises(InvalidArgumentError, match="are the same checkpoint, seed0"):
        pooled(tmp_path)
    for path in again:
        edit_json(path, in_provenance("pretrained", "seed2"))
    path = again[0]
    edit_json(path, lambda content: content["moe_eval"][TASK]["experts"].update(n_layers=99))
    with pytest.raises(InvalidArgumentError, match="number of MoE layers is"):
        pooled(tmp_path)
    path.unlink()
    with pytest.raises(InvalidArgumentError, match="not run at the published k"):
        pooled(tmp_path)


def test_checkpoints_without_the_same_questions_are_refused(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, (10,))
    others = one_per_image(2 * N)[N:]
    for k in (8, 4):
        write_run(tmp_path / "seed1" / f"k{k}", k, right, others, pretrained="seed1")
    with pytest.raises(DataError, match="share no questions"):
        pooled(tmp_path)


def test_the_page_and_its_files_have_the_section_where_it_is_asked_for(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, (10, 5, 4))
    report = build([tmp_path], Options(checkpoints=True))
    assert '<section id="over-checkpoints"' in report.html
    assert "−18.33 (" in report.html
    assert "3 of 3" in report.html
    (row,) = csv.DictReader(io.StringIO(report.tables["checkpoints.csv"].decode()))
    assert (row["setting"], row["n_checkpoints"], row["n_lower"]) == ("k=4", "3", "3")
    assert float(row["difference"]) == pytest.approx(-55 / 3)


def test_the_command_prints_the_same_numbers_as_json(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, (10, 5))
    page = tmp_path / "page.html"
    ended = moe_eval("report", tmp_path, "--checkpoints", "--json", "--output", page)
    assert ended.returncode == 0, ended.stderr
    (task,) = json.loads(ended.stdout)["checkpoints"]
    assert task["settings"][0]["difference"]["differences"] == pytest.approx([-0.1, -0.2])
    assert (tmp_path / "page_files" / "checkpoints.csv").exists()


def test_a_sweep_of_several_checkpoints_is_not_suggested_as_a_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoints(tmp_path, (10, 5))
    assert main(["report", str(tmp_path), "--checkpoints"]) == 0
    said = capsys.readouterr().out
    assert "Report: " in said
    assert "moe-eval bundle" not in said
