"""Sweeps over the embedded model as a user runs them, and what they leave."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from moe_eval_plugin.results.files import read_lines
from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint

SCRIPT = Path(sys.executable).with_name("moe-eval")
N_QUESTIONS = 24
BATCH_SIZE = 4
USUAL = {
    "--model-args": "pretrained=demo",
    "--tasks": "easy_vqa",
    "--limit": str(N_QUESTIONS),
    "--batch-size": str(BATCH_SIZE),
    "--speed-budget": "0",
}


def sweep_arguments(output: Path, *arguments: str) -> list[str]:
    """Write the arguments of a sweep over a few questions; given ones replace the usual ones."""
    usual = [part for option in USUAL.items() if option[0] not in arguments for part in option]
    return ["sweep", *usual, "--output", str(output), *arguments]


def command(output: Path, *arguments: str) -> list[str]:
    """Write the command of such a sweep."""
    return [str(SCRIPT), *sweep_arguments(output, *arguments)]


def manifest(output: Path) -> dict[str, Any]:
    """Read the manifest that a sweep left."""
    content: dict[str, Any] = json.loads((output / "manifest.json").read_text("utf-8"))
    return content


def results(output: Path, point: str) -> dict[str, Any]:
    """Read the results file that the manifest names for a point."""
    path = output / manifest(output)["points"][point]["results"]
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def answers(output: Path, point: str) -> list[dict[str, Any]]:
    """Read what was answered and scored at a point, question by question."""
    (path,) = (output / point).rglob("*_samples_easy_vqa.jsonl")
    return list(read_lines(path))


def numbers(output: Path) -> dict[str, Any]:
    """Return of each point all that does not depend on the clock."""
    found: dict[str, Any] = {}
    for point in manifest(output)["points"]:
        content = results(output, point)
        record = content["moe_eval"]["easy_vqa"]
        counts = ("n_samples", "n_input_tokens", "n_output_tokens", "n_decoded_tokens")
        found[point] = {
            "score": content["results"]["easy_vqa"]["exact_match,none"],
            "stderr": content["results"]["easy_vqa"]["exact_match_stderr,none"],
            "experts": record["experts"],
            "counts": {name: record["speed"][name] for name in counts},
            "answers": answers(output, point),
            "task_hashes": content["task_hashes"],
        }
    return found


TWO_POINTS = [SweepPoint(f"k{k}", str(k)) for k in (8, 4, 1)]


PLAN = SweepPlan("moe_hf", "pretrained=demo", ("easy_vqa", "okvqa"), ())
