"""The points of a sweep: each combination once, named, and by the files of what was tuned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import InvalidArgumentError, NotAnMoEError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile, read_tuned_file
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.sweeps.manifest import Entry, Manifest
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.settings.calibration_overlap import overlap_notes
from moe_eval_plugin.sweeps.settings.kept_files import keep_files
from moe_eval_plugin.sweeps.settings.points import Axes, make_points
from tests.experts.schedules.tuned_files import record, write_file
from tests.sweeps.sweeps import PLAN

if TYPE_CHECKING:
    from pathlib import Path

DEMO = describe(load_config("demo"))


def names(*schedules: str, **axes: tuple[object, ...]) -> list[str]:
    return [point.name for point in points_of(*schedules, **axes)]


def points_of(*schedules: str, **axes: tuple[object, ...]) -> tuple[SweepPoint, ...]:
    return make_points(DEMO, Axes(schedules, **axes))[0]  # type: ignore[arg-type]


def test_the_baseline_is_first_whatever_the_order() -> None:
    points, added = make_points(DEMO, Axes(("1", "8", "4")))
    assert [point.name for point in points] == ["k8", "k1", "k4"]
    assert [point.is_baseline for point in points] == [True, False, False]
    assert not added


def test_a_baseline_that_was_left_out_is_added() -> None:
    points, added = make_points(DEMO, Axes(("4",), renorms=("unit",)))
    assert [point.name for point in points] == ["k8", "k4-renorm-unit"]
    assert added


def test_names_are_those_of_folders() -> None:
    assert names("8/image:2", "prefill:8/decode:4") == [
        "k8",
        "k8_image-2",
        "kprefill-8_decode-4",
    ]
    assert names("8", experts_policies=("uniform", "top_p:0.7")) == ["k8", "k8-top_p-0.7"]
    assert names("8", "8", "08") == ["k8"]
    long = names("/".join(["8", *(f"{n}:4" for n in range(4))] * 4))[1]
    assert len(long) < 80


def test_each_seed_makes_a_point_of_its_own() -> None:
    assert names("4", seeds=(0, 1)) == ["k8-seed0", "k4-seed0", "k8-seed1", "k4-seed1"]
    baseline, point = points_of("4", seeds=(3,))
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
    points, _ = make_points(DEMO, Axes(schedules, policies, renorms))
    combined = {(k, p, r) for k in schedules for p in policies for r in renorms}
    assert {(p.experts_k, p.experts_policy, p.renorm) for p in points[1:]} | {
        ("8", "uniform", "native")
    } == combined | {("8", "uniform", "native")}
    assert len({point.name for point in points}) == len(points)
    assert len({point.digest({}) for point in points}) == len(points)


def test_a_dense_model_has_nothing_to_sweep() -> None:
    with pytest.raises(NotAnMoEError, match="no k to sweep over"):
        make_points(replace(DEMO, is_moe=False), Axes(("1",)))


def test_a_file_names_its_setting_and_k_stays_text(tmp_path: Path) -> None:
    schedule = write_file(tmp_path, "tuned-0.5", k="8/0-1:3")
    policy = write_file(tmp_path, "modes-0.5", policy="threshold:0.2")
    points = points_of("4", schedule, schedule, policies=("top_p:0.7", policy, "uniform"))
    assert [(one.name, one.label) for one in points] == [
        ("k8", "k=8"),
        ("k4", "k=4"),
        ("tuned-0.5", "tuned-0.5"),
        ("k8-top_p-0.7", "k8-top_p-0.7"),
        ("modes-0.5", "modes-0.5"),
    ]
    tuned, calibrated = points[2], points[4]
    assert tuned.model_args == "experts_k=8/0-1:3"
    assert calibrated.model_args == "experts_k=8,experts_policy=threshold:0.2"
    assert tuned.tuning == record("tuned-0.5")
    assert tuned.tuned_file == TunedFile(parse_experts_k("8/0-1:3"), tuning=tuned.tuning)
    assert calibrated.tuned_file == TunedFile(policy="threshold:0.2", tuning=calibrated.tuning)
    assert names("4", schedule, experts_policies=("top_p:0.7",), renorms=("unit",), seeds=(0, 1))[
        1:3
    ] == ["k4-top_p-0.7-renorm-unit-seed0", "tuned-0.5-top_p-0.7-renorm-unit-seed0"]
    assert names("4", experts_policies=(policy,))[1:] == ["k4-modes-0.5"]
    # A list of rules that nobody tuned has no name of its own.
    plain = tmp_path / "plain.yaml"
    plain.write_text("- {k: 8}\n- {k: 2, modality: image}\n", "utf-8")
    assert names(f"@{plain}")[1:] == ["k8_image-2"]


def test_a_point_is_stored_with_how_it_was_found(tmp_path: Path) -> None:
    (_, point) = points_of(write_file(tmp_path, "tuned-0.5", k="8/0-1:3"))
    assert SweepPoint.from_dict(point.to_dict()) == point
    assert "tuning" not in SweepPoint("k4", "4").to_dict()
    assert point.tuning is not None
    other = replace(point, tuning=replace(point.tuning, seed=1))
    assert len({one.digest({}) for one in (point, other, replace(point, tuning=None))}) == 3


def test_the_host_gets_the_file_that_the_sweep_keeps(tmp_path: Path) -> None:
    file = write_file(tmp_path, "tuned-0.5", k="8/0-1:3")
    policy = write_file(tmp_path, "modes-0.5", policy="threshold:0.2")
    _, tuned, calibrated = points_of(file, policies=(policy,))
    asked = PLAN.host_arguments(tuned, "/runs/s/tuned-0.5")
    assert "pretrained=demo,experts_k=@/runs/s/schedules/tuned-0.5.yaml" in asked
    asked = PLAN.host_arguments(calibrated, "/runs/s/modes-0.5")
    named = "experts_policy=@/runs/s/schedules/modes-0.5.yaml"
    assert f"pretrained=demo,experts_k=8,{named}" in asked


def test_settings_that_would_be_one_by_two_names_are_refused(tmp_path: Path) -> None:
    same = write_file(tmp_path, "tuned-0.5", k="4")
    with pytest.raises(InvalidArgumentError, match=r"are k=4: tuned-0\.5, and the one without"):
        points_of("4", same)
    with pytest.raises(InvalidArgumentError, match=r"are k=4: tuned-0\.5 and tuned-0\.6\. Leave"):
        points_of(same, write_file(tmp_path, "tuned-0.6", k="4"))
    with pytest.raises(InvalidArgumentError, match=r"are k=8: tuned-1, and the one without"):
        points_of(write_file(tmp_path, "tuned-1", k="8"))
    policy = write_file(tmp_path, "modes", policy="threshold:0.2")
    with pytest.raises(InvalidArgumentError, match="each was found without the other"):
        points_of(same, experts_policies=(policy,))
    with pytest.raises(InvalidArgumentError, match="named logs, or a folder"):
        points_of(write_file(tmp_path, "logs", k="4"))
    again = write_file(tmp_path / "other", "tuned-0.5", k="8/0:2")
    with pytest.raises(InvalidArgumentError, match=r"would both be named tuned-0\.5"):
        points_of(same, again)
    mixed = write_file(tmp_path / "policy", "tuned-0.5", policy="threshold:0.2")
    other = write_file(tmp_path / "policies", "tuned-0.5", policy="threshold:0.3")
    with pytest.raises(InvalidArgumentError, match=r"Two files are named tuned-0\.5"):
        points_of("2", experts_policies=(mixed,), policies=(other,))


def test_questions_that_took_part_in_choosing_are_counted(tmp_path: Path) -> None:
    one = write_file(tmp_path, "tuned-0.5", k="8/0-1:3", doc_ids=(0, 1, 5))
    two = write_file(tmp_path, "tuned-0.6", k="8/0:3", doc_ids=(2, 3), is_evaluated=False)
    points = points_of(one, two)
    (note,) = overlap_notes(points, {"easy_vqa": 4, "okvqa": 9})
    assert note.startswith("2 of the 4 questions of easy_vqa took part in choosing tuned-0.5; the")
    assert overlap_notes(points, {"okvqa": 9}) == []
    with pytest.raises(InvalidArgumentError, match=r"All 2 questions of easy_vqa .* tuned-0\.5"):
        overlap_notes(points, {"easy_vqa": 2})


def test_a_kept_file_is_the_given_one_with_its_sensitivities(tmp_path: Path) -> None:
    value = write_file(tmp_path / "given", "tuned-0.5", k="8/0-1:3")
    given = (tmp_path / "given" / "tuned-0.5.yaml").read_text("utf-8")
    entries = {point.name: Entry(point.to_dict(), "") for point in points_of("4", value)}
    manifest = Manifest(tmp_path / "sweep", {}, entries=entries)
    kept = tmp_path / "sweep" / "schedules" / "tuned-0.5.yaml"
    kept.parent.mkdir(parents=True)
    for schedules in (("4", value), ("4",)):
        keep_files(manifest, schedules)
        assert kept.read_text("utf-8") == given
    kept.unlink()
    keep_files(manifest, ("4", "@gone.yaml"))
    assert read_tuned_file(kept) == read_tuned_file(tmp_path / "given" / "tuned-0.5.yaml")
    assert read_tuned_file(kept).sensitivities == ()
