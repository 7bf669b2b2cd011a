"""Batches, verified experts and records whose numbers are easy to add up."""

from __future__ import annotations

from typing import Any

from moe_eval_plugin.experts.verification import VerifiedOverride
from moe_eval_plugin.measure.speed import summarise
from moe_eval_plugin.measure.timing import BatchTiming, PhaseTimes
from moe_eval_plugin.results.record import RunRecord

PHASES = PhaseTimes(0.25, 0.5, 0.75, 1.0, 2)


def batch(task: str = "a", n_samples: int = 2, wall_s: float = 4.0) -> BatchTiming:
    """Make a batch of prompts of 10 tokens and answers of 3."""
    return BatchTiming(
        task=task,
        n_samples=n_samples,
        n_input_tokens=10 * n_samples,
        output_tokens=(3,) * n_samples,
        wall_s=wall_s,
        encode_s=0.5,
        generate_s=2.0,
        phases=PHASES,
    )


def experts(**changes: Any) -> VerifiedOverride:
    """Make what is known of a model at k=2 whose own k is 8."""
    known: dict[str, Any] = {
        "requested": 2,
        "baseline": 8,
        "observed": 2,
        "n_layers": 4,
        "n_text_tokens": 100,
        "n_image_tokens": 64,
        "experts_k": "2",
    }
    return VerifiedOverride(**{**known, **changes})


def record(task: str = "a", **changes: Any) -> RunRecord:
    """Make the record of a task that was answered in one batch of two samples in 4 s."""
    known: dict[str, Any] = {
        "experts": experts(),
        "speed": summarise([[batch(task)]])[task],
        "provenance": {"batch_size": 2},
    }
    return RunRecord(task, **{**known, **changes})


EXPERTS = {"a": experts(), "b": experts()}
