"""The real ``lmms-eval`` command with ``moe_vllm``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.cli.programs import LMMS_EVAL, lmms_eval

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.programs import Ended

SMALL = "pretrained=demo,dtype=float32,max_model_len=128,max_num_seqs=8"
EAGER = f"{SMALL},enforce_eager=True"


def command(tmp_path: Path, model_args: str, *more: str) -> list[str]:
    return [
        str(LMMS_EVAL),
        *("--model", "moe_vllm", "--model_args", model_args, "--tasks", "easy_vqa"),
        *(() if "--batch_size" in more else ("--batch_size", "auto")),
        *("--output_path", str(tmp_path / "out"), "--log_samples", *more),
    ]


def run(tmp_path: Path, model_args: str, *more: str, **variables: str) -> Ended:
    """Run the command in this process, which has imported vLLM."""
    return lmms_eval(*command(tmp_path, model_args, *more)[1:], cwd=tmp_path, **variables)


def results_of(tmp_path: Path, done: Ended) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    newest = max((tmp_path / "out").rglob("*_results.json"), key=lambda path: path.stat().st_mtime)
    content: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return content


def answers_of(folder: Path) -> list[str]:
    """Read the answers of the newest run in a folder, in the order of the questions."""
    newest = max(folder.rglob("*_samples_*"), key=lambda path: path.stat().st_mtime)
    rows = [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]
    return [row["filtered_resps"] for row in sorted(rows, key=lambda row: row["doc_id"])]
