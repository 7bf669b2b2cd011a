"""Files of schedules and policies as ``moe-eval tune`` writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.experts.schedules.tuning_record import (
    SEARCH,
    CalibrationQuestions,
    TuningRecord,
)

if TYPE_CHECKING:
    from pathlib import Path

SENSITIVITIES = ({"layer": 0, 1: 0.5216, 2: 1e-7}, {"layer": 1, "modality": "image", 1: 2.0})


def write_tuned_file(path: Path, file: TunedFile) -> None:
    """Write a file of a schedule or a policy by itself, as users have them."""
    path.write_text(file.text, "utf-8")


def record(
    name: str,
    method: str = SEARCH,
    doc_ids: tuple[int, ...] = (0, 1),
    *,
    task: str = "easy_vqa",
    is_evaluated: bool = True,
) -> TuningRecord:
    """Make a record that was found on some questions of a task."""
    questions = CalibrationQuestions(task, "lmms-eval", "test", doc_ids, is_evaluated=is_evaluated)
    return TuningRecord(
        name=name,
        method=method,
        model="demo",
        revision=None,
        unit="experts",
        target=0.5,
        price=0.48,
        questions=(questions,),
    )


def write_file(
    folder: Path,
    name: str,
    *,
    k: str | None = None,
    policy: str | None = None,
    doc_ids: tuple[int, ...] = (0, 1),
    task: str = "easy_vqa",
    is_evaluated: bool = True,
) -> str:
    """Write the file of a schedule or a policy, and return the value of an option that names it."""
    method = policy.partition(":")[0] if policy else SEARCH
    found = record(name, method, doc_ids, task=task, is_evaluated=is_evaluated)
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    rows = SENSITIVITIES if k else ()
    write_tuned_file(path, TunedFile(k and parse_experts_k(k), policy, found, rows))
    return f"@{path}"
