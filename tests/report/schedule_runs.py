"""Runs of schedules and policies in the form that lmms-eval writes, as ``report_runs`` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.schedules.tuning_record import CalibrationQuestions, TuningRecord
from tests.report.report_runs import TASK, right, write_run
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.dataset import Record

SEARCHED = "3/2-3:1"


def tuning_record(
    name: str = "tuned-0.25", doc_ids: Sequence[int] = (), method: str = "search", **changes: Any
) -> TuningRecord:
    """Return the record of a search that found ``SEARCHED`` by these questions of the task."""
    questions = CalibrationQuestions(TASK, "lmms-eval", "test", tuple(doc_ids), is_evaluated=True)
    values: dict[str, Any] = {
        "unit": "experts",
        "target": 0.25,
        "price": 0.25,
        "predicted_loss": 0.041,
        "measured_loss": 0.052,
        "uniform_k": 2,
        "uniform_loss": 0.31,
        "n_tried": 37,
        "questions": (questions,) if doc_ids else (),
    }
    return TuningRecord(name=name, method=method, model="demo", revision=None, **values | changes)


def write_setting(
    folder: Path,
    answer: Callable[[int, Record], str] = right,
    questions: Sequence[Record] = (),
    *,
    experts_k: str | None = None,
    policy: str = "uniform",
    observed: float = 2.0,
    tuning: TuningRecord | None = None,
    samples: bool = True,
) -> Path:
    """Write a run of a schedule or a policy, whose tokens used ``observed`` experts."""
    path = write_run(folder, 8, answer, questions, rate=12.0, samples=samples)

    def change(content: dict[str, Any]) -> None:
        record = content["moe_eval"][TASK]
        one_k = int(experts_k) if experts_k and experts_k.isdecimal() else None
        record["experts"] |= {
            "requested": one_k,
            "observed": observed,
            "experts_k": experts_k,
            "experts_policy": policy,
        }
        if tuning is not None:
            record["provenance"]["tuning"] = tuning.to_dict()
        for layer in record["experts"]["routing"]["layers"].values():
            # A policy drops more of the experts of image tokens.
            image = observed if policy == "uniform" else observed - 0.5
            layer["observed_num_experts_per_tok"] = {
                "prefill": {"text": observed, "image": image},
                "decode": {"text": observed, "image": None},
            }

    edit_json(path, change)
    return path
