"""The plan of a sweep: what its points are, and what is refused before a weight is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.sweeps.plan import SweepPoint, check_model_args
from tests.sweeps.sweeps import PLAN


def test_a_digest_changes_with_every_setting() -> None:
    point = SweepPoint("k4", "4")
    assert point.digest({"limit": 1}) != point.digest({"limit": 2})
    assert point.digest({"a": 1, "b": 2}) == point.digest({"b": 2, "a": 1})
    assert point.digest({}) != replace(point, seed=1).digest({})
    assert short_digest({"a": 1}) == short_digest({"a": 1})


@pytest.mark.parametrize("given", ["unanswerable=count,{}", "{},unanswerable=error"])
def test_a_sweep_goes_on_when_questions_are_counted_that_ended_it(given: str) -> None:
    counting = replace(PLAN, model_args=given.format(PLAN.model_args))
    assert counting.own_settings() == PLAN.own_settings()
    assert "unanswerable=" in str(counting.host_arguments(SweepPoint("k8", "8"), "out"))


def test_the_host_gets_the_arguments_of_its_own_command() -> None:
    plan = replace(PLAN, limit=5, batch_size="16", gen_kwargs="temperature=0")
    arguments = plan.host_arguments(SweepPoint("k4", "4", "top_p:0.7", "unit", 1), "out/k4")
    given_model_args = arguments[arguments.index("--model_args") + 1]
    assert (
        given_model_args
        == "pretrained=demo,experts_k=4,experts_policy=top_p:0.7,renorm=unit,seed=1"
    )
    assert arguments[arguments.index("--tasks") + 1] == "easy_vqa,okvqa"
    assert arguments[arguments.index("--limit") + 1] == "5"
    assert arguments[-3:] == ["--log_samples", "--output_path", "out/k4"]
    assert "--device" not in arguments


@pytest.mark.parametrize(
    ("model", "model_args", "expected"),
    [
        ("moe_hf", "pretrained=demo", "pretrained=demo,experts_k=4,share_contexts=auto"),
        (
            "moe_hf",
            "pretrained=demo,share_contexts=no",
            "pretrained=demo,share_contexts=no,experts_k=4",
        ),
        ("moe_vllm", "pretrained=demo", "pretrained=demo,experts_k=4"),
    ],
)
def test_points_of_lm_eval_share_contexts_unless_the_plan_says_it(
    model: str, model_args: str, expected: str
) -> None:
    plan = replace(PLAN, host="lm-eval", model=model, model_args=model_args)
    arguments = plan.host_arguments(SweepPoint("k4", "4"), "out/k4")
    assert arguments[arguments.index("--model_args") + 1] == expected


@pytest.mark.parametrize("name", ["experts_k", "experts_policy", "renorm", "seed"])
def test_what_differs_between_points_is_no_argument_of_the_model(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"sets {name}"):
        check_model_args(f"pretrained=demo,{name}=1")
    check_model_args(f"pretrained=demo,other_{name}=1")
