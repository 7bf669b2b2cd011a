from __future__ import annotations

import pytest

from moe_eval_plugin.sweeps.estimate import Estimate, render_estimate
from moe_eval_plugin.sweeps.timing.options import TimingOptions


@pytest.mark.parametrize(
    ("timing", "over_engines", "expected"),
    [
        (TimingOptions(budget_s=0), True, "none, because of --speed-budget 0"),
        (TimingOptions(budget_s=90), False, "until each speed-up is known to 3.0%, for 90 s"),
        (TimingOptions(), True, "rounds with an engine for each setting: 3, or 1 where"),
        (TimingOptions(rounds=6), True, "rounds with an engine for each setting: 6"),
    ],
)
def test_the_dry_run_says_how_speeds_will_be_timed(
    timing: TimingOptions, over_engines: bool, expected: str
) -> None:
    states = {"k8": "pending"}
    found = Estimate(
        states, states, {"a": 4}, 1, 1, None, "auto", timing=timing, over_engines=over_engines
    )
    lines = render_estimate(found).splitlines()
    assert lines[-1].startswith(f"timed pass: {expected}")
    assert "batch size: auto" in lines


def test_a_setting_whose_arguments_take_two_lines_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    states = {"k8": "pending", "k8-modes": "pending"}
    arguments = {"k8": "experts_k=8", "k8-modes": "experts_k=8, experts_policy=modes" * 3}
    text = render_estimate(Estimate(states, arguments, {"a": 4}, 1, 1, None, "auto"))
    assert text.startswith("2 settings, the published k first:")
    assert text.index("questions in each setting") > text.index("experts_policy=modesexperts_k")
