"""One generation gives exact rates."""

from __future__ import annotations

import pytest

from moe_eval_plugin.bench.measurement import Repetition
from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.measure.hardware_use import PeakMemory
from moe_eval_plugin.measure.timing import PhaseTimes

GIB = 1024**3


def a_repetition(**changes: object) -> Repetition:
    """Make a batch of 4 with 10 tokens each: the first after 3 s, the other nine in 4.5 s."""
    phases = PhaseTimes(
        vision_s=0.5, prefill_s=2.0, decode_s=4.0, first_token_s=3.0, n_decode_steps=9
    )
    values = {
        "batch_size": 4,
        "n_input_tokens": 80,
        "new_tokens": 10,
        "ttft_s": 3.0,
        "e2e_latency_s": 7.5,
        "phases": phases,
        "joules": 20.0,
    }
    return Repetition(**{**values, **changes})  # type: ignore[arg-type]


def test_rates_are_exact() -> None:
    repetition = a_repetition()
    assert repetition.tpot_s == 0.5
    assert repetition.decode_tokens_per_s == 8.0
    assert repetition.prefill_tokens_per_s == 40.0
    assert repetition.output_tokens_per_s == pytest.approx(40 / 7.5, abs=0)
    assert repetition.joules_per_output_token == 0.5


def test_an_engine_without_phases_takes_prefill_to_last_until_the_first_token() -> None:
    assert a_repetition(phases=None).prefill_tokens_per_s == pytest.approx(80 / 3, abs=0)


def test_what_was_not_measured_is_none() -> None:
    repetition = a_repetition(joules=None)
    assert repetition.joules_per_output_token is None
    assert repetition.peak_memory_bytes is None


@pytest.mark.parametrize(
    ("peak", "expected"),
    [(PeakMemory(GIB, 2 * GIB, 3 * GIB), GIB), (PeakMemory(None, None, 3 * GIB), 3 * GIB)],
)
def test_peak_memory_is_that_of_the_gpu_where_there_is_one(peak: PeakMemory, expected: int) -> None:
    assert a_repetition(peak_memory=peak).peak_memory_bytes == expected


@pytest.mark.parametrize(
    "changes", [{"e2e_latency_s": 6.0}, {"phases": None, "ttft_s": 8.0}, {"ttft_s": 8.0}]
)
def test_a_clock_that_was_not_waited_for_is_caught(changes: dict[str, object]) -> None:
    with pytest.raises(MeasurementError, match="before the work had finished"):
        a_repetition(**changes)
