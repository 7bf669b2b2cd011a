"""``moe-eval compare``, on the files of two runs."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.programs import Ended, moe_eval, start
from tests.publish.bundle.finished_sweeps import write_sweep
from tests.results.run_files import write_run

if TYPE_CHECKING:
    from pathlib import Path

N_QUESTIONS = 200
N_CHANGED = 3


def samples(n_changed: int = 0, n: int = N_QUESTIONS) -> list[dict[str, Any]]:
    """Make samples of which the first few are answered wrongly."""
    return [
        {
            "doc_id": number,
            "question_id": number,
            "image_id": number // 4,
            "target": "red",
            "filtered_resps": "blue" if number < n_changed else "red",
            "vqa_accuracy": float(number >= n_changed),
            "input": f"What colour is number {number}?",
        }
        for number in range(n)
    ]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    a, b = tmp_path / "a", tmp_path / "b"
    write_run(a / "model", {"okvqa": samples()})
    write_run(b / "model", {"okvqa": samples(N_CHANGED)})
    return a, b


def compare(*arguments: object) -> Ended:
    return moe_eval("compare", *arguments)


def test_two_runs_are_compared(folders: tuple[Path, Path]) -> None:
    done = start(sys.executable, "-m", "moe_eval_plugin", "compare", *folders)

    assert (done.returncode, done.stderr) == (0, "")
    assert "okvqa: 200 questions, equal answers 98.50%" in done.stdout
    assert "Changed questions: 3 (right->wrong 3)" in done.stdout


def test_json_holds_all_numbers(folders: tuple[Path, Path]) -> None:
    first, other = (compare(*folders, "--json", "--seed", seed) for seed in (0, 1))

    (task,) = json.loads(first.stdout)["tasks"]
    assert task["equal_answers"] == 0.985
    assert task["scores"][0]["difference"]["difference"] == pytest.approx(-0.015)
    assert task["scores"][0]["equivalence"]["verdict"] == "cannot tell"
    assert first.stdout != other.stdout


@pytest.mark.parametrize(("share", "code"), [(0.985, 0), (0.99, 1)])
def test_too_few_equal_answers_fail_the_check(
    folders: tuple[Path, Path], share: float, code: int
) -> None:
    done = compare(*folders, "--at-least-equal", share)
    as_json = compare(*folders, "--at-least-equal", share, "--json")

    assert done.returncode == as_json.returncode == code
    assert ("Failed: 98.5000% of the answers to okvqa are equal" in done.stdout) == bool(code)
    assert json.loads(as_json.stdout)["tasks"]


def test_the_margin_is_in_points(folders: tuple[Path, Path]) -> None:
    assert "is within 20 points of A (" in compare(*folders, "--within", 20).stdout


def test_what_changed_is_listed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    table, entries = tmp_path / "changed.csv", tmp_path / "changed.json"

    for path in (table, entries):
        assert compare(*folders, "--list", path).returncode == 0

    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert [row["question"] for row in rows] == ["0", "1", "2"]
    assert {row["answer_b"] for row in rows} == {"blue"}
    assert [one["question"] for one in json.loads(entries.read_text("utf-8"))] == ["0", "1", "2"]


def test_a_list_that_is_there_is_kept_without_force(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "changed.csv"
    path.write_text("mine", encoding="utf-8")

    refused = compare(*folders, "--list", path)
    assert (refused.returncode, path.read_text("utf-8")) == (2, "mine")
    assert "--force" in refused.stderr

    assert compare(*folders, "--list", path, "--force").returncode == 0
    assert "right->wrong" in path.read_text("utf-8")


def test_other_questions_are_refused_unless_the_shared_ones_will_do(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    fewer = write_run(tmp_path / "c", {"okvqa": samples(n=150)})
    path = tmp_path / "changed.csv"

    refused = compare(folders[0], fewer, "--list", path)
    assert (refused.returncode, refused.stdout, path.exists()) == (2, "", False)
    assert "50 are only in A (first: 150, 151, 152, 153, 154, ...)" in refused.stderr
    assert "Traceback" not in refused.stderr

    done = compare(folders[0], fewer, "--common")
    assert done.returncode == 0
    assert "okvqa: 150 questions" in done.stdout
    assert "Only the 150 questions that both runs have are compared" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at-least-equal", 99], "--at-least-equal 99.0 is not possible"),
        (["--within", 0], "--within 0.0 is not possible"),
        (["--within", "nan"], "--within: 'nan' is not a number"),
        (["--seed", -1], "--seed -1 is not possible"),
        (["--list", "changed.txt"], "--list changed.txt is not possible"),
        (["--metric", "bleu"], "no score 'bleu'"),
        (["--task", "easy_vqa"], "no task easy_vqa; its tasks: okvqa"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(
    folders: tuple[Path, Path], arguments: list[object], said: str
) -> None:
    done = compare(*folders, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_agreement_of_answers_that_are_no_text_cannot_be_checked(tmp_path: Path) -> None:
    likely = [{**one, "filtered_resps": [[-0.5, True]]} for one in samples(n=4)]
    path = write_run(tmp_path, {"okvqa": likely})

    assert compare(path, path).returncode == 0
    done = compare(path, path, "--at-least-equal", 0.9)
    assert done.returncode == 2
    assert "its answers are not text" in done.stderr


def test_a_folder_with_several_runs_is_refused(folders: tuple[Path, Path]) -> None:
    done = compare(folders[0].parent, folders[0])

    assert done.returncode == 2
    assert "holds 2 runs" in done.stderr


def test_a_sweep_is_compared_with_its_baseline(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep")
    done = compare(sweep)
    assert (done.returncode, done.stderr) == (0, "")
    assert "k=2" in done.stdout
    failed = compare(sweep, "--at-least-equal", 0.9, "--json", "--settings", "k2")
    assert failed.returncode == 1
    assert list(json.loads(failed.stdout)["settings"]) == ["k2"]
    told = compare(sweep, "--at-least-equal", 0.9).stdout
    assert "Failed: 75.0000% of the answers to easy_vqa at k=2 are equal" in told


def test_what_only_a_sweep_or_only_two_runs_can_have_is_refused(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep")
    for arguments, said in (
        ((sweep / "k2",), "is a single run. Pass a second one"),
        ((sweep, sweep / "k2"), "is a sweep of the settings k8, k2. Pass one of them"),
        ((sweep / "k8", sweep / "k2", "--settings", "k2"), "--settings chooses among those"),
        ((sweep, "--list", tmp_path / "x.csv"), "--list needs two runs"),
    ):
        done = compare(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
