"""Steady decode over batch sizes: a separate short run with a fixed number of tokens."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.stats.speed import Spread

if TYPE_CHECKING:
    from moe_eval_plugin.json_object import JsonObject


@dataclass(frozen=True)
class SpeedSummary:
    """The speed of one setting over its repetitions; ``None`` for what was not measured."""

    n_repetitions: int
    """Number of timed rounds."""
    ttft_s: Spread | None
    """Time from the call to the first token of every sequence, encoding of images included."""
    tpot_s: Spread | None
    """Time per output token after the first, host work included: ``(e2e_latency_s - ttft_s) / (new
    tokens - 1)``."""
    e2e_latency_s: Spread | None
    """Time from the call to the last token."""
    prefill_tokens_per_s: Spread | None
    """Tokens of all prompts, image tokens included, divided by the time of their forward pass;
    encoding of images is not counted."""
    decode_tokens_per_s: Spread | None
    """Batch size divided by ``tpot_s``."""
    output_tokens_per_s: Spread | None
    """All new tokens divided by ``e2e_latency_s``."""
    joules_per_output_token: Spread | None
    """Energy of the whole generation, prefill included, divided by its new tokens."""
    peak_memory_bytes: int | None
    """Largest peak of any repetition: memory in tensors on the GPUs, or RAM of the process if no
    GPU is used."""

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> SpeedSummary:
        """Build the summary from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        return cls(
            n_repetitions=values.need_integer("n_repetitions"),
            ttft_s=_spread(values, "ttft_s"),
            tpot_s=_spread(values, "tpot_s"),
            e2e_latency_s=_spread(values, "e2e_latency_s"),
            prefill_tokens_per_s=_spread(values, "prefill_tokens_per_s"),
            decode_tokens_per_s=_spread(values, "decode_tokens_per_s"),
            output_tokens_per_s=_spread(values, "output_tokens_per_s"),
            joules_per_output_token=_spread(values, "joules_per_output_token"),
            peak_memory_bytes=values.integer("peak_memory_bytes"),
        )


@dataclass(frozen=True)
class SteadyPoint:
    """Steady decode at one batch size, with the observed k and the touched experts."""

    batch_size: int
    observed_num_experts_per_tok: float | None
    distinct_experts_per_decode_step: float | None
    speed: SpeedSummary

    @classmethod
    def from_dict(cls, values: JsonObject) -> SteadyPoint:
        """Build the point from its stored fields; ``DataError`` for a wrong type."""
        return cls(
            values.need_integer("batch_size"),
            values.number("observed_num_experts_per_tok"),
            values.number("distinct_experts_per_decode_step"),
            SpeedSummary.from_dict(values.need_item("speed")),
        )


@dataclass(frozen=True)
class SteadyDecode:
    """Steady decode of a model as it is, over batch sizes, with a note if memory ended."""

    points: tuple[SteadyPoint, ...] = ()
    notes: tuple[str, ...] = ()

    def tokens_per_s(self, batch_size: int) -> float | None:
        """Return the rate at the largest measured batch size up to this one; ``None`` without."""
        fitting = [point for point in self.points if point.batch_size <= batch_size]
        rate = fitting[-1].speed.decode_tokens_per_s if fitting else None
        return rate.median if rate else None

    def to_dict(self) -> dict[str, Any]:
        """Return all points as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> SteadyDecode:
        """Build the record from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        points = tuple(map(SteadyPoint.from_dict, values.items("points")))
        return cls(points, values.texts("notes"))


def _spread(values: JsonObject, key: str) -> Spread | None:
    found = values.item(key)
    if found is None:
        return None
    ends = (found.need_number("smallest"), found.need_number("largest"))
    return Spread(found.need_number("median"), *ends, found.need_integer("n"))
