"""The plan of a sweep: its points, their names, and what is refused before a weight is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import InvalidArgumentError, NotAnMoEError
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.sweeps.plan import SweepPoint, check_model_args, make_points
from tests.sweeps.sweeps import PLAN

DEMO = describe(load_config("demo"))


def names(*schedules: str, **axes: tuple[object, ...]) -> list[str]:
    return [point.name for point in make_points(DEMO, schedules, **axes)[0]]  # type: ignore[arg-type]


def test_the_baseline_is_first_whatever_the_order() -> None:
    points, added = make_points(DEMO, ("1", "8", "4"))
    assert [point.name for point in points] == ["k8", "k1", "k4"]
    assert [point.is_baseline for point in points] == [True, False, False]
    assert not added


def test_a_baseline_that_was_left_out_is_added() -> None:
    points, added = make_points(DEMO, ("4",), renorms=("unit",))
    assert [point.name for point in points] == ["k8", "k4-renorm-unit"]
    assert added


def test_names_are_those_of_folders() -> None:
    assert names("8/image:2", "prefill:8/decode:4") == [
        "k8",
        "k8_image-2",
        "kprefill-8_decode-4",
    ]
    assert names("8", policies=("uniform", "top_p:0.7")) == ["k8", "k8-top_p-0.7"]
    assert names("8", "8", "08") == ["k8"]
    long = names("/".join(["8", *(f"{n}:4" for n in range(4))] * 4))[1]
    assert len(long) < 80


def test_each_seed_makes_a_point_of_its_own() -> None:
    assert names("4", seeds=(0, 1)) == ["k8-seed0", "k4-seed0", "k8-seed1", "k4-seed1"]
    (baseline, point), _ = make_points(DEMO, ("4",), seeds=(3,))
    assert (baseline.name, point.name) == ("k8", "k4")
    assert point.model_args == "experts_k=4,seed=3"


@given(
    st.lists(st.sampled_from(["1", "2", "8", "8/image:2", "text:8/image:4"]), min_size=1),
    st.lists(st.sampled_from(["uniform", "top_p:0.7", "threshold:0.1"]), min_size=1),
    st.lists(st.sampled_from(["native", "unit"]), min_size=1),
)
def test_each_combination_is_there_once_and_digests_differ(
    schedules: list[str], policies: list[str], renorms: list[str]
) -> None:
    points, _ = make_points(DEMO, schedules, policies, renorms)
    combined = {(k, p, r) for k in schedules for p in policies for r in renorms}
    assert {(p.experts_k, p.experts_policy, p.renorm) for p in points[1:]} | {
        ("8", "uniform", "native")
    } == combined | {("8", "uniform", "native")}
    assert len({point.name for point in points}) == len(points)
    assert len({point.digest({}) for point in points}) == len(points)


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
    assert "unanswerable=" in str(counting.host_arguments(make_points(DEMO, ("8",))[0][0], "out"))


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


def test_a_dense_model_has_nothing_to_sweep() -> None:
    with pytest.raises(NotAnMoEError, match="no k to sweep over"):
        make_points(replace(DEMO, is_moe=False), ("1",))


@pytest.mark.parametrize("name", ["experts_k", "experts_policy", "renorm", "seed"])
def test_what_differs_between_points_is_no_argument_of_the_model(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"sets {name}"):
        check_model_args(f"pretrained=demo,{name}=1")
    check_model_args(f"pretrained=demo,other_{name}=1")
