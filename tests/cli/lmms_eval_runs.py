"""Evaluations by the ``lmms-eval`` command, away from the checkout, and what they leave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.cli.programs import LMMS_EVAL, Ended, lmms_eval, start

if TYPE_CHECKING:
    from pathlib import Path


def run(
    tmp_path: Path, *arguments: str, program: tuple[object, ...] = (LMMS_EVAL,), **variables: object
) -> Ended:
    """Start a command with results in ``tmp_path``/out, away from the checkout."""
    tmp_path.mkdir(exist_ok=True)
    variables = {"HF_DATASETS_CACHE": tmp_path / "cache", **variables}
    output = ("--output_path", tmp_path / "out")
    return start(*program, *arguments, *output, cwd=tmp_path, **variables)


def moe_hf(tmp_path: Path, model_args: str, tasks: str, *more: str, **variables: object) -> Ended:
    """Run the command in this process with results in ``tmp_path``/out."""
    command = ("--model", "moe_hf", "--model_args", model_args, "--tasks", tasks, *more)
    tmp_path.mkdir(exist_ok=True)
    return lmms_eval(*command, "--output_path", tmp_path / "out", cwd=tmp_path, **variables)


def result_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out").rglob("*_results.json"))


def results_of(tmp_path: Path, done: Ended) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = result_files(tmp_path)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def assert_refused(tmp_path: Path, done: Ended, message: str, code: int = 2) -> None:
    """One message, no traceback, the right exit code, and no result file."""
    assert done.returncode == code, (done.returncode, done.stderr[-3000:])
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not result_files(tmp_path)
