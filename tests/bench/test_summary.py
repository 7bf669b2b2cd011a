"""Medians, spreads, and gains that are compared round by round."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.bench.measurement import Repetition
from moe_eval_plugin.bench.summary import speed_up, summarise
from moe_eval_plugin.stats.speed import Spread

SECONDS = st.floats(0.001, 1000)


def repetitions(*tpots_s: float) -> list[Repetition]:
    """Make batches of 2 whose 5 tokens come after 1 s, then in these intervals."""
    return [Repetition(2, 20, 5, 1.0, 1.0 + 4 * tpot_s) for tpot_s in tpots_s]


def test_the_median_stands_between_the_smallest_and_the_largest() -> None:
    speed = summarise(repetitions(0.5, 0.25, 2.0))
    assert speed.tpot_s == Spread(0.5, 0.25, 2.0, 3)
    assert speed.decode_tokens_per_s == Spread(4.0, 1.0, 8.0, 3)
    assert speed.ttft_s == Spread(1.0, 1.0, 1.0, 3)
    assert speed.n_repetitions == 3


def test_a_quantity_that_one_repetition_lacks_is_not_known() -> None:
    assert summarise(repetitions(0.5)).joules_per_output_token is None


def test_a_slow_round_slows_both_and_leaves_the_gain() -> None:
    reference, own = repetitions(1.0, 10.0, 1.0), repetitions(0.5, 5.0, 0.25)
    gain = speed_up(own, reference, lambda r: r.tpot_s)
    assert gain == Spread(2.0, 2.0, 4.0, 3)


def test_rounds_that_do_not_match_give_no_gain() -> None:
    assert speed_up(repetitions(1.0), repetitions(1.0, 1.0), lambda r: r.tpot_s) is None


@given(st.lists(SECONDS, min_size=1))
def test_a_point_is_as_fast_as_itself(values: list[float]) -> None:
    same = repetitions(*values)
    assert speed_up(same, same, lambda r: r.e2e_latency_s) == Spread(1.0, 1.0, 1.0, len(values))
