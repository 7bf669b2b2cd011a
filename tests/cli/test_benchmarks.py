"""The programs under benchmarks/ in their short form: they run, and both sides do the same."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted(Path(__file__).parents[2].joinpath("benchmarks").glob("*.py"))


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
    run(program, "--short", "--batch-sizes", 16, "--json", report)
    figures = json.loads(report.read_text("utf-8"))
    assert figures["n_questions"] == 64
    assert figures["batch_sizes"]["16"]["ratios"]["requests_s"]["median"] > 0


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_every_program_can_be_loaded(program: Path) -> None:
    assert callable(runpy.run_path(str(program), run_name="program")["main"])
