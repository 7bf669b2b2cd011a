"""Which texts of a policy are allowed, and what they say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
from moe_eval_plugin.override.policies.parsing import parse_rule
from moe_eval_plugin.plugins import Policy, PolicyParameter
from tests.experts.schedules.tuned_files import write_tuned_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("policy", "renorm", "rule"),
    [
        (None, None, RoutingRule()),
        ("", "", RoutingRule()),
        ("uniform", "native", RoutingRule()),
        ("top_p:0.9", None, RoutingRule("top_p", (0.9,))),
        ("threshold:.25", "unit", RoutingRule("threshold", (0.25,), "unit")),
        ("top_p:.9/1/0.75", None, RoutingRule("top_p", ((0.9, 1.0, 0.75),))),
        ("entropy:0:1", None, RoutingRule("entropy", (0.0, 1.0))),
        ("modes:0:.5:1.5/2", None, RoutingRule("modes", (0.0, 0.5, (1.5, 2.0)))),
        (None, "keep-mass", RoutingRule(renorm="keep-mass")),
    ],
)
def test_options_are_read(policy: str | None, renorm: str | None, rule: RoutingRule) -> None:
    assert parse_rule(policy, renorm) == rule


@pytest.mark.parametrize(
    ("policy", "renorm", "message"),
    [
        ("top_k", None, "top_k is not known. Use one of: uniform, top_p:SHARE, threshold:MULTIPLE"),
        ("top_k", None, "entropy:LOW:HIGH, modes:TEXT:IMAGE:IMPORTANCE"),
        ("entropy:0.6:0.6", None, "LOW must be below HIGH. Write entropy:LOW:HIGH"),
        ("entropy:-0.1:0.6", None, "LOW=-0.1 is not at least 0 and at most 1"),
        ("entropy:0.2:1.1", None, "HIGH=1.1 is not above 0 and at most 1"),
        ("entropy:0.2/0.7:0.6", None, "LOW must be below HIGH"),
        ("modes:0.1:0.2", None, "it has 2 of 3 parameters"),
        ("modes:0.1:0.2:1/0", None, "IMPORTANCE=0 is not above 0"),
        ("modes:-1:0.2:1", None, "TEXT=-1 is not at least 0"),
        ("modes:0.1:inf:1", None, "IMAGE=inf is not at least 0"),
        ("uniform:2", None, "experts_policy=uniform is not known"),
        (
            "top_p",
            None,
            "possible: it has 0 of 1 parameters. Write top_p:SHARE, where SHARE is the share to",
        ),
        ("top_p:0.5:0.6", None, "it has 2 of 1 parameters"),
        ("top_p:0.5/0", None, "SHARE=0 is not above 0 and at most 1"),
        ("top_p:0.5/", None, "SHARE=nan is not above 0"),
        ("top_p:0.5/0.6/", None, "SHARE=nan is not above 0"),
        ("top_p:0", None, "above 0 and at most 1"),
        ("threshold:1.5", None, "above 0 and at most 1"),
        ("threshold:nan", None, "above 0 and at most 1"),
        ("threshold:half", None, "threshold:half"),
        (None, "softmax", "renorm=softmax is not known. Use one of: native, keep-mass, unit"),
    ],
)
def test_what_is_not_possible_is_refused(
    policy: str | None, renorm: str | None, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_rule(policy, renorm)


BAND = Policy(
    name="band",
    summary="keep the weights between two numbers",
    parameters=(
        PolicyParameter("low", "the smallest weight", includes_low=True),
        PolicyParameter("high", "the largest weight", high=math.inf),
    ),
    keep=lambda choice, low, high: (choice.weights >= low) & (choice.weights <= high),
    check=lambda low, high: None if low < high else "LOW must be below HIGH",
)


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ((0.0, 5.0), None),
        (((0.1, 0.2), 0.3), None),
        (((0.1, 0.2), (0.3, 7.0)), None),
        ((0.5,), "it has 1 of 2 parameters"),
        ((-0.1, 5.0), "LOW=-0.1 is not at least 0 and at most 1"),
        ((0.1, math.inf), "HIGH=inf is not above 0"),
        ((0.5, 0.5), "LOW must be below HIGH"),
        (((0.1, 0.4), 0.3), "LOW must be below HIGH"),
        (((0.1, 0.2), (0.3, 0.4, 0.5)), "its lists have 2 and 3 numbers"),
        (((), 0.5), "its lists have 0 numbers"),
    ],
)
def test_several_parameters_are_checked_alone_and_together(
    parameters: tuple[float | tuple[float, ...], ...], fault: str | None
) -> None:
    found = BAND.fault_of(parameters)
    assert (found is None) == (fault is None)
    assert (fault or "") in (found or "")
    assert BAND.help == (
        "band:LOW:HIGH, where LOW is the smallest weight, at least 0 and at most 1, and HIGH is "
        "the largest weight, above 0"
    )


def write(folder: Path, policy: str) -> str:
    record = TuningRecord("tuned-0.5", "top_p", "demo", None, "experts", 0.5, 0.48)
    path = folder / "policy.yaml"
    write_tuned_file(path, TunedFile(policy=policy, tuning=record))
    return f"@{path}"


def test_a_calibrated_policy_is_read_with_its_record(tmp_path: Path) -> None:
    rule = parse_rule(write(tmp_path, "modes:0.02:0.05:1.2/0.8"), "unit")
    assert rule == RoutingRule("modes", (0.02, 0.05, (1.2, 0.8)), "unit")
    assert rule.tuning is not None
    assert rule.tuning.name == "tuned-0.5"
    assert rule.policy_text == "modes:0.02:0.05:1.2/0.8"


def test_a_file_is_checked_like_the_option(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"experts_policy=top_p:2 is not possible"):
        parse_rule(write(tmp_path, "top_p:2"), None)
    with pytest.raises(InvalidArgumentError, match=r"@missing.yaml cannot be read"):
        parse_rule("@missing.yaml", None)
