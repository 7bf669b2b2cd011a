from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.engines.vllm.request_times import (
    RequestTimes,
    as_batch,
    request_phases,
)
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.speed import summarise
from moe_eval_plugin.measure.timing import BatchTiming

stamps = st.lists(st.floats(0, 1e3), min_size=4, max_size=4).map(sorted)


@given(stamps, st.integers(1, 50))
def test_the_parts_of_a_request_fill_its_time_in_the_engine(
    at: list[float], n_output_tokens: int
) -> None:
    stats = SimpleNamespace(
        queued_ts=at[0],
        scheduled_ts=at[1],
        first_token_ts=at[2],
        last_token_ts=at[3],
    )
    times = RequestTimes.read(stats, 9, n_output_tokens)
    parts = (times.queue_s, times.prefill_s, times.decode_s)
    assert sum(parts) == pytest.approx(at[3] - at[0])
    assert times.ttft_s == pytest.approx(at[2] - at[0])
    assert times.e2e_latency_s == pytest.approx(at[3] - at[0])
    if n_output_tokens == 1:
        assert times.tpot_s is None
    else:
        assert times.tpot_s * (n_output_tokens - 1) == pytest.approx(times.decode_s)


def test_what_was_not_measured_is_none_and_never_0() -> None:
    times = [RequestTimes.read(None, 5, 2), RequestTimes.read(None, 6, 1)]
    batches = [as_batch([one], "easy_vqa", 1.0, 1) for one in times]
    speed = summarise([batches])["easy_vqa"]
    assert (speed.n_input_tokens, speed.n_output_tokens, speed.n_decoded_tokens) == (11, 3, 1)
    assert speed.samples_per_s == 1.0
    assert speed.ttft_s is speed.e2e_latency_s is speed.latency_from is None
    assert set(request_phases(times).values()) == {None}


def test_latencies_of_requests_start_in_the_queue() -> None:
    times = [RequestTimes(5, 2, queue_s=1.0, prefill_s=2.0, decode_s=3.0)]
    batches = [as_batch([one], "easy_vqa", 8.0, 1) for one in times]
    speed = summarise([batches])["easy_vqa"]
    shared = [as_batch([one], "easy_vqa", 8.0, 1, is_shared=True) for one in times]
    assert summarise([shared])["easy_vqa"].latency_from is None
    assert BatchTiming.from_dict(JsonObject(batches[0].to_dict())) == batches[0]
    medians = {name: one.median for name, one in speed.latencies.items() if one}
    assert medians == {"ttft_from_queue_s": 3.0, "e2e_latency_from_queue_s": 6.0}
