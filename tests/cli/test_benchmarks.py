"""The programs under benchmarks/ in their short form: they run, and both sides do the same."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from moe_eval_plugin.bench.workload.config_changes import load_changed_config
from moe_eval_plugin.models.parameters import count_parameters
from moe_eval_plugin.results.timing.timed_pass import read_timed_passes

PROGRAMS = sorted(Path(__file__).parents[2].joinpath("benchmarks").rglob("*.py"))


def run(program: Path, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scores_are_those_of_the_host_and_much_faster(
    repository_root: Path, vqa_data: Path
) -> None:
    program = repository_root / "benchmarks" / "vqa_scoring.py"
    shown = run(program, vqa_data, "--n", 2000, "--at-least", 10)
    assert "All scores are equal: yes. At least 10 times as fast: yes." in shown


def test_both_models_get_the_same_inputs_and_give_the_same_answers(
    repository_root: Path, tmp_path: Path
) -> None:
    report = tmp_path / "overhead.json"
    program = repository_root / "benchmarks" / "overhead.py"
    run(program, "--short", "--batch-sizes", 4, "--json", report)
    figures = json.loads(report.read_text("utf-8"))
    assert figures["n_questions"] == 16
    assert figures["batch_sizes"]["4"]["ratios"]["requests_s"]["median"] > 0


def test_models_of_lm_eval_answer_as_the_hosts_own(repository_root: Path, tmp_path: Path) -> None:
    report = tmp_path / "lm-eval.json"
    program = repository_root / "benchmarks" / "lm_eval_adapter.py"
    runpy.run_path(str(program), run_name="program")["main"](["--short", "--json", str(report)])
    cases = json.loads(report.read_text("utf-8"))["cases"]
    assert {kind: len(one["ours_s"]) for kind, one in cases.items()} == {
        "choices": 2,
        "answers": 2,
        "images": 2,
    }


def test_a_conversion_is_compared_with_a_copy_of_its_bytes(
    repository_root: Path, tmp_path: Path
) -> None:
    report = tmp_path / "conversion.json"
    program = repository_root / "benchmarks" / "convert_speed.py"
    run(program, "--short", "--folder", tmp_path, "--json", report)
    figures = json.loads(report.read_text("utf-8"))
    assert figures["summary"]["wall_ratio"] > 0
    # A process starts with the memory of the one before it: PyTorch's must not be in the copy's.
    (one,) = figures["rounds"]
    assert one["copy"]["peak_memory_bytes"] < one["convert"]["peak_memory_bytes"] / 4
    assert [path.name for path in tmp_path.iterdir()] == [report.name]


def test_suffix_passes_give_the_losses_of_whole_passes(
    repository_root: Path, tmp_path: Path
) -> None:
    report = tmp_path / "suffix.json"
    program = repository_root / "benchmarks" / "suffix_passes.py"
    runpy.run_path(str(program), run_name="program")["main"](["--short", "--json", str(report)])
    (one,) = json.loads(report.read_text("utf-8"))["rounds"]
    assert one["largest_difference"] == 0
    assert all(ratio > 0 for ratio in one["ratio"].values())


# The host leaves the files that it wrote for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_schedules_are_compared_with_the_uniform_k_of_their_price(
    repository_root: Path, tmp_path: Path
) -> None:
    program = runpy.run_path(str(repository_root / "benchmarks" / "tuned_schedules.py"))
    report = tmp_path / "tuned.json"
    short = ("--limit", "40", "--calibration", "8", "--policies", "top_p", "--speed-budget", "0")
    assert program["main"]([str(tmp_path / "runs"), *short, "--json", str(report)]) == 0
    rows = json.loads(report.read_text("utf-8"))["rows"]
    assert [row["name"] for row in rows[:3]] == ["k=4", "tuned-0.5", "top_p-0.5"]
    assert len(rows) == 9
    for row in rows:
        # That of a policy is known for the calibration questions alone.
        assert row["observed_k"] <= row["uniform_k"] + 0.5
        is_uniform = row["name"] == f"k={row['uniform_k']}"
        assert (row["difference"] is None) == is_uniform
        if not is_uniform:
            low, high = row["interval"]
            assert low <= row["difference"] <= high


def run_on_gpu(root: Path, *arguments: object, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["/bin/bash", str(root / "benchmarks" / "gpu" / "run.sh"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def gpu_run(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON files of the short form of the run on a GPU, by name; and its timed passes."""
    out = tmp_path_factory.mktemp("gpu")
    code, shown, errors = run_on_gpu(repository_root, "--small", "--seconds", 400, out)
    assert code == 0, shown + errors
    files = {path.stem: json.loads(path.read_text("utf-8")) for path in out.glob("*.json")}
    return {**files, "passes": read_timed_passes(out)}


def test_the_gpu_run_verifies_and_scores_the_demo(gpu_run: dict[str, Any]) -> None:
    settings = gpu_run["demo"]["settings"]
    assert {name: one["observed_num_experts_per_tok"] for name, one in settings.items()} == {
        "k8": 8,
        "k4": 4,
        "k2": 2,
        "k1": 1,
    }
    assert settings["k8"]["exact_match"] > 0.95 > settings["k1"]["exact_match"]


def test_the_gpu_run_times_all_k_in_blocks(gpu_run: dict[str, Any]) -> None:
    (timed,) = gpu_run["passes"]
    assert timed.settings == ("k8", "k4", "k2", "k1")
    assert timed.ended_by is not None
    for name, speed_up in gpu_run["demo"]["speed"]["b16"]["speed_up"].items():
        low, high = speed_up["interval"]
        assert low <= speed_up["ratio"] <= high, name
        assert speed_up["n_blocks"] == len(timed.counted)


def test_the_gpu_run_benches_each_k_and_batch_size(gpu_run: dict[str, Any]) -> None:
    points = gpu_run["bench"]["points"]
    assert [
        (one["batch_size"], one["num_experts_per_tok"], one["observed_num_experts_per_tok"])
        for one in points
    ] == [(size, k, k) for size in (1, 4) for k in (8, 4, 2, 1)]
    assert all(one["distinct_experts_per_decode_step"] >= 1 for one in points)
    assert gpu_run["summary"]["is_complete"]
    assert gpu_run["watch"]["demo"]["b1"]["n_pairs"] > 0
    assert gpu_run["environment"]["device"]["kind"] == "cpu"


def test_the_gpu_run_names_what_a_machine_lacks(repository_root: Path, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', "utf-8")
    bare.chmod(0o755)
    code, _, errors = run_on_gpu(repository_root, "--small", tmp_path / "out", PYTHON=str(bare))
    assert code == 2
    assert "lacks torch, torchvision, transformers" in errors
    assert "prepare.sh" in errors


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_gpu_run_ends_at_once_where_there_is_no_gpu(
    repository_root: Path, tmp_path: Path
) -> None:
    code, _, errors = run_on_gpu(repository_root, tmp_path)
    assert code == 2
    assert "PyTorch sees no GPU here. See --small." in errors


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "name a folder"),
        (("--smal", "out"), "--smal is not an option"),
        (("--seconds", "5", "out"), "--seconds must be 120 or more"),
        (("out", "other"), "one folder is expected"),
    ],
)
def test_the_gpu_run_refuses_wrong_arguments(
    arguments: tuple[str, ...], named: str, repository_root: Path
) -> None:
    code, _, errors = run_on_gpu(repository_root, *arguments)
    assert code == 2
    assert named in errors


def test_the_gpu_run_fails_where_a_part_did_not_end(repository_root: Path, tmp_path: Path) -> None:
    program = repository_root / "benchmarks" / "gpu" / "summary.py"
    command = [sys.executable, str(program), str(tmp_path), "demo=0", "bench=124", "watch=left out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "bench: ended because its time was over" in done.stdout
    assert json.loads((tmp_path / "summary.json").read_text("utf-8"))["is_complete"] is False


def test_the_gpu_run_has_the_published_configuration(repository_root: Path) -> None:
    path = repository_root / "benchmarks" / "gpu" / "qwen3-vl-30b-a3b.json"
    # What the published weight files add up to.
    assert count_parameters(load_changed_config(str(path), {})).total == 31_070_754_032


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_every_program_explains_itself(
    program: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(program.parent)  # as Python does for a program
    main = runpy.run_path(str(program), run_name="program")["main"]
    monkeypatch.setattr(sys, "argv", [str(program), "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "usage: " in capsys.readouterr().out
