from __future__ import annotations

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.sweeps.timing.options import (
    TimingOptions,
    read_batch_sizes,
    read_budget,
    read_precision,
)


@pytest.mark.parametrize(("given", "read"), [("0.03", 0.03), ("3%", 0.03), ("12.5%", 0.125)])
def test_a_precision_is_a_share_or_a_percentage(given: str, read: float) -> None:
    assert read_precision("--speed-precision", given) == pytest.approx(read)


@pytest.mark.parametrize("given", ["0", "-1%", "100%", "3", "three", "nan", "%"])
def test_a_precision_that_is_no_share_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"--speed-precision={given} .*3%"):
        read_precision("--speed-precision", given)


def test_a_budget_is_a_number_of_seconds_or_left_to_the_sweep() -> None:
    assert read_budget("--speed-budget", "auto") is None
    assert read_budget("--speed-budget", "90") == 90
    with pytest.raises(InvalidArgumentError):
        read_budget("--speed-budget", "-1")
    assert TimingOptions(budget_s=0).is_off
    assert not TimingOptions().is_off


def test_each_batch_size_is_timed_once() -> None:
    assert read_batch_sizes("--batch-sizes", ("16", "1", "16")) == (1, 16)
    with pytest.raises(InvalidArgumentError):
        read_batch_sizes("--batch-sizes", ("auto",))
