"""``moe-eval sweep`` as a user runs it: to its end, killed, changed, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.experts.schedules.tuned_file import read_tuned_file
from moe_eval_plugin.model_adapters import vllm_arguments
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
from moe_eval_plugin.sweeps.manifest import locked
from tests.cli.json_docs import checked_json
from tests.cli.programs import Ended, moe_eval, started_moe_eval
from tests.experts.schedules.tuned_files import write_file
from tests.models.weights.checkpoints import demo_copy
from tests.results.record_docs import undocumented
from tests.sweeps.sweeps import (
    N_QUESTIONS,
    answers,
    manifest,
    numbers,
    results,
    sweep_arguments,
)

if TYPE_CHECKING:
    from pathlib import Path

KS = ("--experts-k", "4", "1")
N_OF_THREE_IMAGES = 27
# The questions of an image are one batch here: eight batches.
BY_IMAGE = (*KS, "--limit", "80", "--batch-size", "1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep that nobody disturbed, and what it printed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "sweep"
    run = sweep_here(folder, *KS)
    assert run.returncode == 0, run.stderr
    return folder, run.stdout


def sweep_here(output: Path, *arguments: str) -> Ended:
    """Run a sweep in this process to its end."""
    return moe_eval(*sweep_arguments(output, *arguments))


def kill_in_the_middle(output: Path, point: str, n_batches: int) -> None:
    """Start a sweep, and kill it as soon as a point has so many batches."""
    process = started_moe_eval(*sweep_arguments(output, *BY_IMAGE))
    journal = output / "journal" / f"{point}.jsonl"
    end = time.monotonic() + 600
    while time.monotonic() < end and process.is_alive():
        if journal.is_file() and journal.read_bytes().count(b"\n") > n_batches:
            break
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the sweep ended before it could be killed"


def test_the_baseline_comes_first_and_each_k_is_observed(undisturbed: tuple[Path, str]) -> None:
    folder, printed = undisturbed
    assert "Added k=8, the published k, as the baseline." in printed
    points = manifest(folder)["points"]
    assert list(points) == ["k8", "k4", "k1"]
    assert [entry["state"] for entry in points.values()] == ["done"] * 3
    observed = [numbers(folder)[point]["experts"]["observed"] for point in points]
    assert observed == [8, 4, 1]
    asked = [[sample["doc_id"] for sample in answers(folder, point)] for point in points]
    assert asked == [list(range(N_QUESTIONS))] * 3


def test_the_table_grows_with_each_point(undisturbed: tuple[Path, str]) -> None:
    folder, printed = undisturbed
    rows = [line.split() for line in printed.splitlines() if line.startswith("k")]
    assert [row[:2] for row in rows[:3]] == [["k=8", "8.00"], ["k=4", "4.00"], ["k=1", "1.00"]]
    found = numbers(folder)
    assert rows[2][2] == f"{found['k1']['score']:.2%}"
    change = 100 * (found["k1"]["score"] - found["k8"]["score"])
    assert rows[2][3] == f"{change:+.2f}".replace("-", "−")


def test_a_sweep_killed_three_times_equals_an_undisturbed_one(tmp_path: Path) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    run = sweep_here(undisturbed, *BY_IMAGE)
    assert run.returncode == 0, run.stderr
    for point, n_batches in (("k8", 1), ("k8", 3), ("k4", 2)):
        kill_in_the_middle(killed, point, n_batches)
    run = sweep_here(killed, *BY_IMAGE)
    assert run.returncode == 0, run.stderr
    assert numbers(killed) == numbers(undisturbed)
    told = {
        point: results(killed, point)["moe_eval"]["easy_vqa"]["provenance"]
        for point in ("k8", "k4", "k1")
    }
    # One batch at most is lost: all others were answered before the process that ended the point.
    assert told["k8"]["n_processes"] == 3
    assert told["k8"]["n_answered_before"] >= N_OF_THREE_IMAGES
    assert told["k8"]["shared_images"]["shared"]
    assert told["k4"]["n_processes"] == 2
    assert told["k1"]["n_answered_before"] == 0
    assert undocumented(told["k8"]) == set()
    assert not list((killed / "journal").iterdir())


@pytest.fixture(scope="module")
def tuned(undisturbed: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep with a schedule and two policies added, in a folder ``sweep``."""
    above = tmp_path_factory.mktemp("tuned")
    shutil.copytree(undisturbed[0], above / "sweep")
    write_file(above, "tuned-0.5", k="0-1:3/2-3:1")
    write_file(above, "modes-0.5", policy="threshold:0.2")
    return above / "sweep"


TUNED = ("--experts-k", "4", "@tuned-0.5.yaml", "--policies", "top_p:0.7", "@modes-0.5.yaml")


def test_what_is_done_is_kept_and_tuned_settings_are_added(tuned: Path) -> None:
    before = (tuned / manifest(tuned)["points"]["k4"]["results"]).stat().st_mtime_ns
    run = moe_eval(*sweep_arguments(tuned, *TUNED, "--json"), cwd=tuned.parent)
    assert run.returncode == 0, run.stderr
    assert f"2 of the {N_QUESTIONS} questions of easy_vqa took part in choosing" in run.stderr
    report = checked_json("sweep", run.stdout)
    names = ["k8", "k4", "k1", "tuned-0.5", "k8-top_p-0.7", "modes-0.5"]
    assert [row["point"] for row in report["rows"]] == names
    assert report["rows"][3]["observed_num_experts_per_tok"] == 2
    assert (tuned / manifest(tuned)["points"]["k4"]["results"]).stat().st_mtime_ns == before
    study = (tuned / "study.yaml").read_text("utf-8")
    assert "\nexperts_k: [8, 4, '@schedules/tuned-0.5.yaml', 1]\n" in study
    assert "\npolicies: ['top_p:0.7', '@schedules/modes-0.5.yaml']\n" in study
    for name in ("tuned-0.5", "modes-0.5"):
        (task,) = read_run(tuned / manifest(tuned)["points"][name]["results"]).tasks
        kept = read_tuned_file(tuned / "schedules" / f"{name}.yaml")
        given = read_tuned_file(tuned.parent / f"{name}.yaml")
        assert (kept, kept.sensitivities) == (given, given.sensitivities)
        assert task.setup.tuning == kept.tuning
    assert read_run(tuned / manifest(tuned)["points"]["k1"]["results"]).setup.tuning is None  # type: ignore[union-attr]


def test_a_sweep_goes_on_without_its_files_and_not_with_changed_ones(
    tuned: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tuned, moved)
    run = moe_eval(*sweep_arguments(moved, *TUNED), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "5 of 5 settings were done already." in run.stderr
    run = moe_eval("sweep", moved / "study.yaml", "--output", moved, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "6 of 6 settings were done already." in run.stderr
    write_file(tmp_path, "tuned-0.5", k="0-1:3/2-3:2")
    run = moe_eval(*sweep_arguments(moved, *TUNED), cwd=tmp_path)
    assert run.returncode == 2
    assert "tuned-0.5: {" in run.stderr
    write_file(tmp_path, "tuned-0.5", k="0-1:3/2-3:1", doc_ids=tuple(range(9)))
    run = moe_eval(*sweep_arguments(moved, *TUNED), cwd=tmp_path)
    assert run.returncode == 2
    assert "tuned-0.5: its file says otherwise how it was found: questions" in run.stderr
    everything = tuple(range(N_QUESTIONS))
    write_file(tmp_path, "tuned-0.5", k="0-1:3/2-3:1", doc_ids=everything)
    run = moe_eval(*sweep_arguments(tmp_path / "new", *TUNED[:3]), cwd=tmp_path)
    assert run.returncode == 2
    assert f"All {N_QUESTIONS} questions of easy_vqa that this sweep asks took part" in run.stderr
    assert not (tmp_path / "new").exists()


def test_points_that_are_done_are_timed_and_their_speed_ups_have_intervals(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(undisturbed[0], folder)
    timed = ("--speed-budget", "3", "--batch-sizes", "8")
    run = sweep_here(folder, *KS, *timed)
    assert run.returncode == 0, run.stderr
    assert numbers(folder) == numbers(undisturbed[0])
    (found,) = read_timed_passes(folder)
    assert (found.task, found.batch_size, found.baseline) == ("easy_vqa", 8, "k8")
    assert found.settings == ("k8", "k4", "k1")
    assert found.sample == tuple(range(N_QUESTIONS))
    ratio = found.speed_up("k1")
    assert ratio is not None
    (row,) = [line for line in run.stdout.splitlines() if line.startswith("k=1") and "×" in line]
    assert ratio.text in row
    assert "No timed pass" in undisturbed[1]
    # What has ended is read, and no model is loaded for it.
    path = folder / "timing" / "easy_vqa-b8.jsonl"
    before = path.stat().st_mtime_ns
    run = sweep_here(folder, *KS, *timed, "--json")
    assert path.stat().st_mtime_ns == before
    report = json.loads(run.stdout)
    assert report["rows"][2]["ratio"] == ratio.ratio
    assert report["rows"][2]["ratio_batch_size"] == 8
    assert report["timed_passes"][0]["ended_by"] in {"budget", "precision"}


def test_a_changed_setting_is_refused_and_restart_sets_aside_what_was_there(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(undisturbed[0], folder)
    changed = ("--limit", "4", "--experts-k", "8")
    run = sweep_here(folder, *changed)
    assert run.returncode == 2
    assert f"limit: {N_QUESTIONS} -> 4" in run.stderr
    assert numbers(folder) == numbers(undisturbed[0])
    run = sweep_here(folder, *changed, "--restart")
    assert run.returncode == 0, run.stderr
    assert list(manifest(folder)["points"]) == ["k8"]
    assert len(answers(folder, "k8")) == 4
    (aside,) = (tmp_path / "sweep.stale").iterdir()
    assert numbers(aside) == numbers(undisturbed[0])


def test_a_dry_run_changes_nothing_and_shows_the_plan(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    run = sweep_here(tmp_path / "new", "--experts-k", "8/image:2", "--dry-run")
    assert run.returncode == 0, run.stderr
    assert "k8_image-2  pending  experts_k=8/image:2" in run.stdout
    assert f"{N_QUESTIONS} of easy_vqa; {2 * N_QUESTIONS} answers to go" in run.stdout
    assert "batch size: 4" in run.stdout
    assert "time: unknown until the first setting is done." in run.stdout
    assert "timed pass: none, because of --speed-budget 0" in run.stdout
    assert " MiB (weights plus 10%); " in run.stdout
    assert not (tmp_path / "new").exists()
    run = sweep_here(undisturbed[0], *KS, "2", "--dry-run", "--json")
    shown = checked_json("an estimate", run.stdout)
    assert list(shown["states"].values()) == ["done", "done", "done", "pending"]
    assert shown["seconds_left"] > 0
    assert shown["timing"]["precision"] == 0.03
    assert shown["memory_bytes"] > 0
    run = sweep_here(undisturbed[0], *KS, "--limit", "4", "--dry-run")
    assert run.returncode == 0, run.stderr
    assert "refused without --restart" in run.stdout
    assert f"limit: {N_QUESTIONS} -> 4" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--experts-k", "8", "65"), "experts_k=65 is too many"),
        (("--model-args", "pretrained=demo,experts_k=4"), "pass its values with --experts-k"),
        (("--model-args", "pretrained=demo,devicemap=auto"), "Did you mean device_map?"),
        (("--experts-policy", "top_p:2"), "experts_policy=top_p:2 is not possible"),
        (("--limit", "0"), "--limit 0 is not possible"),
        (("--speed-precision", "3"), "--speed-precision=3 is not possible"),
        (("--speed-budget", "soon"), "--speed-budget=soon is not possible"),
        (("--batch-sizes", "auto"), "--batch-sizes=auto is not possible"),
        (("--timing-rounds", "0"), "--timing-rounds=0 is not possible"),
        (("--input-cache-gib", "-1"), "--input-cache-gib=-1.0 is not possible"),
        (("--tasks", "esy_vqa"), "No task is called esy_vqa. Did you mean easy_vqa?"),
        (("--model", "moe_hf", "moe_hf"), "Name each model once"),
        (("--model", "moe_hf", "moe_vllm", "--json"), "--json works with one model"),
    ],
)
def test_a_sweep_that_cannot_be_made_says_so(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    usual = () if "--experts-k" in arguments else ("--experts-k", "4")
    run = sweep_here(tmp_path / "sweep", *usual, *arguments)
    assert run.returncode == 2, run.stderr
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.rglob("*_results.json"))


@pytest.mark.parametrize(
    ("model", "without", "said"),
    [
        ("moe_hf", "model.safetensors", "no weights that can be loaded"),
        ("moe_vllm", "model.safetensors", "no weights that can be loaded"),
        ("moe_hf", "tokenizer.json", "cannot be loaded"),
    ],
)
def test_a_checkpoint_that_no_point_could_load_is_refused_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, without: str, said: str
) -> None:
    monkeypatch.setattr(vllm_arguments, "check_installed", lambda: None)
    (tmp_path / "model").mkdir()
    folder = demo_copy(tmp_path / "model", without)
    named = ("--model", model, "--model-args", f"pretrained={folder}", "--tasks", "easy_vqa")
    run = moe_eval("sweep", *named, "--experts-k", "4", "--output", tmp_path / "sweep")
    assert run.returncode == 2, run.stderr
    assert run.stderr.count(said) == 1
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "sweep").exists()


def test_two_sweeps_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path):
        second = sweep_here(tmp_path, *KS)
    assert second.returncode == 2
    assert f"Another sweep runs in {tmp_path} (process {os.getpid()})" in second.stderr
    assert not (tmp_path / "manifest.json").exists()


def test_a_point_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    blocked = tmp_path / "sweep"
    (blocked / "logs").mkdir(parents=True)
    (blocked / "logs" / "k4.log").mkdir()
    run = sweep_here(blocked, *KS)
    assert run.returncode == 1
    points = manifest(blocked)["points"]
    assert [entry["state"] for entry in points.values()] == ["done", "failed", "done"]
    assert "IsADirectoryError" in points["k4"]["reason"]
    assert "Failed: k=4. Run the same command to try again." in run.stderr
    (blocked / "logs" / "k4.log").rmdir()
    run = sweep_here(blocked, *KS)
    assert run.returncode == 0, run.stderr
    assert manifest(blocked)["points"]["k4"]["n_attempts"] == 2
