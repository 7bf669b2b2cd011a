"""Files as ``moe-eval tune`` writes them, for the embedded model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.experts.schedules.tuning_record import CalibrationQuestions, TuningRecord
from tests.experts.schedules.tuned_files import write_tuned_file

if TYPE_CHECKING:
    from pathlib import Path

# The layers that lose least at a quarter of the experts; each layer has a k of its own.
BY_LAYER = {0: 3, 1: 2, 2: 1, 3: 2}
QUESTIONS = CalibrationQuestions("easy_vqa", "lmms-eval", "train", (4, 8, 15), is_evaluated=False)
RECORD = TuningRecord(
    name="tuned-0.25",
    method="search",
    model="demo",
    revision=None,
    unit="experts",
    target=0.25,
    price=0.25,
    predicted_loss=0.35,
    measured_loss=0.31,
    uniform_k=2,
    uniform_loss=0.52,
    n_tried=37,
    questions=(
        CalibrationQuestions("easy_vqa", "lmms-eval", "train", (4, 8, 15), is_evaluated=False),
    ),
    date="2026-11-29T09:00:00+00:00",
)


def tuned_file(folder: Path) -> Path:
    """Write the file of a searched schedule."""
    schedule = parse_experts_k("/".join(f"{layer}:{k}" for layer, k in BY_LAYER.items()))
    path = folder / "tuned-0.25.yaml"
    write_tuned_file(path, TunedFile(schedule, tuning=RECORD))
    return path


def policy_file(folder: Path) -> Path:
    """Write the file of a calibrated policy."""
    path = folder / "policy.yaml"
    record = replace(RECORD, name="threshold-0.25", method="threshold")
    write_tuned_file(path, TunedFile(policy="threshold:0.4", tuning=record))
    return path
