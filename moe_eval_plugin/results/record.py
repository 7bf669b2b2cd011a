"""The result schema: one record per task, which holds accuracy, speed and routing.

"Not measured" is ``None``, never 0. Every record names its schema version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.text import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.speed import TaskSpeed

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Score:
    """The score of a task, from 0 to 1, and the name that the host gives it."""

    metric: str
    value: float


@dataclass(frozen=True)
class Metric:
    """A row that a plugin adds to the results of a task; ``None`` stands for "not measured"."""

    task: str
    name: str
    value: float | None
    higher_is_better: bool | None = None


@dataclass(frozen=True)
class RunRecord:
    """What is known of one task of one run, beside the scores that the host computes.

    ``experts`` is ``None`` for a model that is not ours: its routing was not observed. ``score`` is
    ``None`` until the host has scored the answers, and where its scale is not known.
    ``steady_decode`` is the record of that measurement, where one was asked for.
    """

    task: str
    experts: VerifiedOverride | None
    speed: TaskSpeed
    provenance: Mapping[str, Any]
    hardware: HardwareUse = field(default_factory=HardwareUse)
    score: Score | None = None
    steady_decode: Mapping[str, Any] | None = None
    extra: tuple[Metric, ...] = ()

    @property
    def seconds_per_correct_answer(self) -> float | None:
        """Wall time by the sum of the scores; ``None`` without a score, or if it is 0."""
        if self.score is None or self.score.value <= 0 or self.speed.n_samples == 0:
            return None
        return self.speed.wall_s / (self.score.value * self.speed.n_samples)

    @property
    def joules_per_sample(self) -> float | None:
        """Energy of all processes by the samples of all."""
        joules = self.hardware.joules
        return joules / self.speed.n_samples if joules and self.speed.n_samples else None

    def rows(self) -> dict[str, float | None]:
        """Give the values for the host's results table, by metric name.

        A schedule of several k has no single ``num_experts_per_tok``.
        """
        speed = self.speed
        return {
            **self._expert_rows(),
            "samples_per_s": speed.samples_per_s,
            "output_tokens_per_s": speed.output_tokens_per_s,
            "prefill_tokens_per_s": speed.prefill_tokens_per_s,
            **{
                f"{name}_median": latency.median if latency else None
                for name, latency in speed.latencies.items()
            },
            "n_output_tokens_per_sample": speed.mean_output_tokens,
            "seconds_per_correct_answer": self.seconds_per_correct_answer,
            "peak_memory_gib": self._peak_memory_gib(),
            "joules_per_sample": self.joules_per_sample,
            **self._steady_rows(),
            **{metric.name: metric.value for metric in self.extra},
        }

    def higher_is_better(self) -> dict[str, bool]:
        """Tell of the rows that have a good end which one it is."""
        extra = {m.name: m.higher_is_better for m in self.extra if m.higher_is_better is not None}
        return {**HIGHER_IS_BETTER, **extra}

    def to_dict(self) -> dict[str, Any]:
        """Give the record as it is stored: plain JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.task,
            "experts": self.experts.to_dict() if self.experts else None,
            "score": {"metric": self.score.metric, "value": self.score.value}
            if self.score
            else None,
            "speed": {
                **self.speed.to_dict(),
                "seconds_per_correct_answer": self.seconds_per_correct_answer,
            },
            "hardware": {**self.hardware.to_dict(), "joules_per_sample": self.joules_per_sample},
            "steady_decode": self.steady_decode,
            "extra": {metric.name: metric.value for metric in self.extra},
            "provenance": dict(self.provenance),
        }

    def _expert_rows(self) -> dict[str, float | None]:
        if self.experts is None:
            return {}
        asked = self.experts.requested if self.experts.experts_k else self.experts.baseline
        return {
            "baseline_num_experts_per_tok": self.experts.baseline,
            "num_experts_per_tok": asked,
            "observed_num_experts_per_tok": self.experts.observed,
            **_rows_by_modality(self.experts),
        }

    def _steady_rows(self) -> dict[str, float | None]:
        """Give steady decode at the largest measured batch size up to that of the run."""
        if self.steady_decode is None:
            return {}
        size = self.provenance["batch_size"]
        fitting = [point for point in self.steady_decode["points"] if point["batch_size"] <= size]
        rate = fitting[-1]["speed"]["decode_tokens_per_s"] if fitting else None
        return {"steady_decode_tokens_per_s": rate["median"] if rate else None}

    def _peak_memory_gib(self) -> float | None:
        peak = self.hardware.peak_memory
        return None if peak is None else peak.used_bytes / GIB


HIGHER_IS_BETTER = {
    "samples_per_s": True,
    "output_tokens_per_s": True,
    "prefill_tokens_per_s": True,
    "steady_decode_tokens_per_s": True,
    "ttft_s_median": False,
    "e2e_latency_s_median": False,
    "ttft_from_queue_s_median": False,
    "e2e_latency_from_queue_s_median": False,
    "seconds_per_correct_answer": False,
    "peak_memory_gib": False,
    "joules_per_sample": False,
}


def _rows_by_modality(experts: VerifiedOverride) -> dict[str, float | None]:
    """Give a row for text and for image tokens where they used different k."""
    text, image = experts.observed_text, experts.observed_image
    if text is None or image is None or text == image:
        return {}
    return {
        "observed_num_experts_per_tok_text": text,
        "observed_num_experts_per_tok_image": image,
    }
