"""Does the interval of a speed-up hold the truth on a machine that drifts?

Passes are simulated by ``benchmarks/simulated_timing.py``, whose virtual machine slows down, jumps
or has a neighbour; seeds are fixed. They end as real ones do: at the precision, or at the budget.
"""

from __future__ import annotations

import pytest

from benchmarks.simulated_timing import MACHINES, coverage

N_BLOCKS = 40
SLOWER_FOR_LONG = [
    "slows by 30% half-way",
    "drifts to 30% slower",
    "steps, 6 blocks each on average",
]
NEIGHBOURS = [f"neighbour, period {one}" for one in ("1/2 block", "1 block", "4 blocks")]


@pytest.mark.parametrize("name", SLOWER_FOR_LONG)
def test_in_blocks_the_interval_holds_the_truth_and_one_after_the_other_it_does_not(
    name: str,
) -> None:
    found = coverage(MACHINES[name], n_blocks=N_BLOCKS, seed=1)

    assert all(0.93 <= share <= 0.97 for share in found.interleaved.values()), found
    assert all(share < 0.5 for share in found.sequential.values()), found


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_neighbour_that_returns_does_not_meet_the_same_setting_again_and_again(name: str) -> None:
    found = coverage(MACHINES[name], n_blocks=N_BLOCKS, seed=1)

    assert all(0.93 <= share <= 0.97 for share in found.interleaved.values()), found


def test_a_fixed_rotation_would_not_hold_what_a_drawn_order_does() -> None:
    found = coverage(MACHINES["neighbour, period 1 block"], n_blocks=N_BLOCKS, rotating=True)

    assert min(found.interleaved.values()) < 0.9


def test_passes_on_a_quiet_machine_end_at_the_precision() -> None:
    found = coverage(MACHINES["steady"], n_runs=2000, n_blocks=N_BLOCKS, precision=0.05, seed=1)

    assert found.blocks < N_BLOCKS
    assert found.width < 0.05
    assert all(0.93 <= share <= 0.97 for share in found.interleaved.values()), found
