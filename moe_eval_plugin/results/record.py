"""The result schema: one record per task, which holds accuracy, speed and routing.

"Not measured" is ``None``, never 0. Every record names its schema version.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.verification import VerifiedOverride
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.answer_ends import AnswerEnds
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.rows import HIGHER_IS_BETTER, OF_A_TASK, in_order
from moe_eval_plugin.results.setup import Setup
from moe_eval_plugin.results.steady_decode import SteadyDecode
from moe_eval_plugin.stats.pareto import per_correct_answer
from moe_eval_plugin.text import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Score:
    """The score of a task, from 0 to 1, and the name that the host gives it."""

    metric: str
    value: float

    @classmethod
    def from_dict(cls, values: JsonObject) -> Score:
        """Build the score from its stored fields; ``DataError`` for a wrong type."""
        return cls(values.need_text("metric"), values.need_number("value"))


@dataclass(frozen=True)
class Metric:
    """A row that a plugin adds to the results of a task.

    Example::

        Metric("okvqa", "questions_per_hour", 5400.0, higher_is_better=True)
    """

    task: str
    """Name of the task."""
    name: str
    """Name of the row. It must be free: the rows of this package come first."""
    value: float | None
    """A finite number, or ``None`` for "not measured"."""
    higher_is_better: bool | None = None
    """Direction of the arrow in the table of the host; ``None`` if there is no better."""


@dataclass(frozen=True)
class RunRecord:
    """Everything that was measured for one task of one run."""

    task: str
    """Name of the task."""
    experts: VerifiedOverride | None
    """Requested and observed k; ``None`` for a model of the host itself, which is not observed."""
    speed: TaskSpeed
    """Times, counts and rates."""
    provenance: Mapping[str, Any]
    """What the run was made with: checkpoint, settings, machine and versions."""
    hardware: HardwareUse = field(default_factory=HardwareUse)
    """Peak memory and energy."""
    score: Score | None = None
    """The score that counts correct answers; ``None`` if no metric of the task can."""
    steady_decode: SteadyDecode | None = None
    """Steady decode at several batch sizes; ``None`` unless ``profile=full``."""
    extra: tuple[Metric, ...] = ()
    """Rows that plugins added, by name."""
    answers: AnswerEnds | None = None
    """How the answers ended; absent if this was not counted, or nothing was generated."""
    n_answers_from_cache: int | None = None
    """Questions that the host's cache answered: neither observed nor timed; absent without one."""

    @cached_property
    def setup(self) -> Setup:
        """The typed part of ``provenance``."""
        return Setup.from_dict(JsonObject(self.provenance, path="provenance"))

    def with_provenance(self, **more: Any) -> RunRecord:  # noqa: ANN401  (plain JSON data)
        """Return a copy of the record with more entries in its provenance."""
        return replace(self, provenance={**self.provenance, **more})

    @property
    def seconds_per_correct_answer(self) -> float | None:
        """Wall time, divided by the sum of the scores; ``None`` without a score, or if it is 0.

        Also ``None`` if a cache answered some questions, because the score covers these too.
        """
        if self.score is None or self.n_answers_from_cache:
            return None
        return per_correct_answer(self.speed.wall_s, self.score.value * self.speed.n_samples)

    @property
    def joules_per_sample(self) -> float | None:
        """Energy, divided by the number of questions."""
        joules = self.hardware.joules
        return joules / self.speed.n_samples if joules and self.speed.n_samples else None

    @property
    def steady_decode_tokens_per_s(self) -> float | None:
        """Steady decode at the largest measured batch size that does not exceed that of the run."""
        size = self.setup.batch_size
        if self.steady_decode is None or size is None:
            return None
        return self.steady_decode.tokens_per_s(size)

    @property
    def peak_memory_gib(self) -> float | None:
        """Memory of tensors on the GPUs, or the RAM of the process if it uses no GPU."""
        peak = self.hardware.peak_memory
        return None if peak is None else peak.used_bytes / GIB

    def rows(self) -> dict[str, float | None]:
        """Return the values of the host's results table, by the name of the row.

        For a schedule with several k, ``num_experts_per_tok`` is ``None``. If questions shared
        their images, the rates are those of the task, and their names begin with ``task_``.
        """
        speed, n_cached = self.speed, self.n_answers_from_cache
        task = OF_A_TASK if speed.is_shared else ""
        ours = {
            **self._expert_rows(),
            **({"n_answers_from_cache": n_cached} if n_cached else {}),
            f"{task}samples_per_s": speed.samples_per_s,
            f"{task}output_tokens_per_s": speed.output_tokens_per_s,
            "prefill_tokens_per_s": speed.prefill_tokens_per_s,
            **self._latency_rows(),
            "n_output_tokens_per_sample": speed.mean_output_tokens,
            f"{task}seconds_per_correct_answer": self.seconds_per_correct_answer,
            "peak_memory_gib": self.peak_memory_gib,
            "joules_per_sample": self.joules_per_sample,
            **self._steady_rows(),
        }
        return {**in_order(ours), **{metric.name: metric.value for metric in self.extra}}

    def higher_is_better(self) -> dict[str, bool]:
        """Return whether higher is better, by row; rows without a direction are absent."""
        extra = {m.name: m.higher_is_better for m in self.extra if m.higher_is_better is not None}
        return {**HIGHER_IS_BETTER, **extra}

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values, as it is stored."""
        n_cached = self.n_answers_from_cache
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
            "steady_decode": self.steady_decode.to_dict() if self.steady_decode else None,
            **({"answers": self.answers.to_dict()} if self.answers else {}),
            "extra": {metric.name: metric.value for metric in self.extra},
            **({} if n_cached is None else {"n_answers_from_cache": n_cached}),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, values: JsonObject) -> RunRecord:
        """Build the record from what ``to_dict`` stored, in any version of the schema.

        Unknown keys are ignored. Derived values, rates for instance, are computed again; whether
        a higher value of an extra row is better is not stored. Raises ``DataError``, which names
        the file and the key, for a value of a wrong type.
        """
        experts, hardware = values.item("experts"), values.item("hardware")
        steady, answers = values.item("steady_decode"), values.item("answers")
        score, extra = values.item("score"), values.item("extra") or JsonObject({})
        task = values.need_text("task")
        record = cls(
            task=task,
            experts=VerifiedOverride.from_dict(experts) if experts else None,
            speed=_speed(values),
            provenance=values.mapping("provenance"),
            hardware=HardwareUse.from_dict(hardware) if hardware else HardwareUse(),
            score=Score.from_dict(score) if score else None,
            steady_decode=SteadyDecode.from_dict(steady) if steady else None,
            answers=AnswerEnds.from_dict(answers) if answers else None,
            extra=tuple(Metric(task, name, extra.number(name)) for name in extra.values),
            n_answers_from_cache=values.integer("n_answers_from_cache"),
        )
        # Parts that are read when they are needed are checked here, where the file is known.
        Setup.from_dict(values.item("provenance") or JsonObject({}))
        return record

    def _expert_rows(self) -> dict[str, float | None]:
        if self.experts is None:
            return {}
        asked = self.experts.requested if self.experts.experts_k else self.experts.baseline
        ffn, skipped = self.experts.ffn_use, self.experts.skipped_experts
        return {
            "baseline_num_experts_per_tok": self.experts.baseline,
            "num_experts_per_tok": asked,
            "observed_num_experts_per_tok": self.experts.observed,
            **({"observed_num_ffn_experts_per_tok": ffn.mean} if ffn else {}),
            **({"skipped_experts_share": skipped.share} if skipped else {}),
            **_rows_by_modality(self.experts),
        }

    def _latency_rows(self) -> dict[str, float | None]:
        if self.speed.latency_from == "call":  # of the bench, whose numbers no host shows
            return {}
        return {
            f"{name}_median": latency.median if latency else None
            for name, latency in self.speed.latencies.items()
        }

    def _steady_rows(self) -> dict[str, float | None]:
        if self.steady_decode is None:
            return {}
        return {"steady_decode_tokens_per_s": self.steady_decode_tokens_per_s}


def _rows_by_modality(experts: VerifiedOverride) -> dict[str, float | None]:
    """Return a row for text and one for image tokens where they used different k."""
    text, image = experts.observed_text, experts.observed_image
    if text is None or image is None or text == image:
        return {}
    return {
        "observed_num_experts_per_tok_text": text,
        "observed_num_experts_per_tok_image": image,
    }


def _speed(values: JsonObject) -> TaskSpeed:
    """Read the speed; older records do not say where their latencies start."""
    speed = TaskSpeed.from_dict(values.need_item("speed"))
    if speed.latency_from is not None or not any(speed.latencies.values()):
        return speed
    is_vllm = values.mapping("provenance").get("backend") == "vllm"
    return replace(speed, latency_from="queue" if is_vllm else "preprocessing")
