"""What the timed pass is to do, from the points that are done."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.timing.timed_pass import pass_path
from moe_eval_plugin.sweeps.manifest import Entry, Manifest
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.timing.options import TimingOptions
from moe_eval_plugin.sweeps.timing.pass_file import ASKED, MACHINE, PassFile
from moe_eval_plugin.sweeps.timing.work import TimedWork, make_work
from tests.results.run_files import write_run
from tests.results.sample_records import experts, record
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.results.timing.timed_pass import TimedPass

POINTS = (SweepPoint("k8", "8", is_baseline=True), SweepPoint("k4", "4"), SweepPoint("k1", "1"))
TASK = "okvqa"
SAMPLES = {TASK: [{"question_id": 1, "filtered_resps": "red"}]}


def sweep(
    folder: Path, points: Sequence[SweepPoint] = POINTS, observed: float | None = 4
) -> Manifest:
    """Write the manifest of a sweep whose points answered 10 questions in 5 s."""
    manifest = Manifest(folder, {"limit": 10})
    for point in points:
        path = write_run(folder / point.name, SAMPLES)
        known = record(
            TASK,
            experts=experts(observed=observed),
            speed=TaskSpeed(10, 100, 20, 5.0),
            provenance={"batch_size": 16},
        ).to_dict()
        edit_json(path, lambda content, known=known: content.update(moe_eval={TASK: known}))
        results = str(path.relative_to(folder))
        digest = point.digest(manifest.settings)
        manifest.entries[point.name] = Entry(point.to_dict(), digest, "done", results)
    return manifest


def work(
    manifest: Manifest, output_type: str = "generate_until", n: int = 10, **options: Any
) -> TimedWork:
    return make_work(manifest, TimingOptions(**options), {TASK: n}, {TASK: output_type})


def test_all_settings_are_timed_at_the_batch_size_that_answered(tmp_path: Path) -> None:
    found = work(sweep(tmp_path))
    assert [point.name for point in found.points] == ["k8", "k4", "k1"]
    (one,) = found.passes
    assert (one.task, one.batch_size, one.baseline) == (TASK, 16, "k8")
    assert one.settings == ("k8", "k4", "k1")
    assert one.sample == tuple(range(10))
    assert found.remarks == ()


def test_the_default_budget_is_the_time_of_1000_answers_at_all_settings(tmp_path: Path) -> None:
    manifest = sweep(tmp_path)
    (one,) = work(manifest).passes
    assert one.budget_s == 3 * 1000 * 0.5
    both = work(manifest, batch_sizes=(1, 16)).passes
    assert [one.budget_s for one in both] == [750, 750]
    (one,) = work(manifest, budget_s=90.0).passes
    assert one.budget_s == 90


def test_three_rounds_time_as_many_questions_as_one_interleaved_pass(tmp_path: Path) -> None:
    manifest, n, types = sweep(tmp_path), {TASK: 5000}, {TASK: "generate_until"}
    (interleaved,) = make_work(manifest, TimingOptions(), n, types).passes
    (rounds,) = make_work(manifest, TimingOptions(), n, types, n_rounds=3).passes
    assert (len(interleaved.sample), interleaved.method) == (1024, "interleaved")
    assert (len(rounds.sample), rounds.method) == (341, "rounds")


def test_nothing_is_timed_without_a_budget_or_without_anything_to_compare(tmp_path: Path) -> None:
    manifest = sweep(tmp_path)
    assert work(manifest, budget_s=0.0).passes == ()
    assert work(sweep(tmp_path, POINTS[:1])).passes == ()
    alone = work(sweep(tmp_path, POINTS[1:]))
    assert alone.passes == ()
    assert alone.remarks == ("Nothing is timed: there are no answers at the published k.",)


def test_a_point_that_failed_is_not_timed(tmp_path: Path) -> None:
    manifest = sweep(tmp_path)
    manifest.entries["k4"] = replace(manifest.entries["k4"], state="failed", results=None)
    (one,) = work(manifest).passes
    assert one.settings == ("k8", "k1")


def test_experts_that_were_not_observed_are_not_timed(tmp_path: Path) -> None:
    found = work(sweep(tmp_path, observed=None))
    assert found.passes == ()
    assert found.remarks[0] == "k8 is not timed: its experts were not observed."


def test_repetitions_with_other_seeds_are_timed_once(tmp_path: Path) -> None:
    points = [
        replace(point, name=f"{point.name}-seed{seed}", seed=seed)
        for seed in (1, 2)
        for point in POINTS[:2]
    ]
    (one,) = work(sweep(tmp_path, points)).passes
    assert one.settings == ("k8-seed1", "k4-seed1")


def test_multiple_choice_is_timed_question_by_question(tmp_path: Path) -> None:
    found = work(sweep(tmp_path), "multiple_choice", batch_sizes=(4, 16))
    assert [one.batch_size for one in found.passes] == [1]


def test_questions_of_several_rounds_are_not_timed(tmp_path: Path) -> None:
    found = work(sweep(tmp_path), "generate_until_multi_round")
    assert found.passes == ()
    assert found.remarks == (f"{TASK} is not timed: its questions have several rounds.",)


def test_a_pass_is_pending_until_it_has_ended(tmp_path: Path) -> None:
    found = work(sweep(tmp_path), batch_sizes=(4, 16))
    small, large = found.passes
    assert found.pending(tmp_path) == (small, large)
    file = PassFile(tmp_path, small)
    assert found.pending(tmp_path) == (small, large)
    file.end("precision")
    assert found.pending(tmp_path) == (large,)
    other = work(sweep(tmp_path), batch_sizes=(4, 16), precision=0.01)
    assert len(other.pending(tmp_path)) == 2


def test_a_batch_size_that_did_not_fit_is_not_tried_again(tmp_path: Path) -> None:
    found = work(sweep(tmp_path), batch_sizes=(16,))
    (large,) = found.passes
    assert large.identity[ASKED] == 16
    PassFile(tmp_path, replace(large, batch_size=8)).end("precision")
    assert found.pending(tmp_path) == ()
    assert work(sweep(tmp_path), batch_sizes=(8,)).pending(tmp_path) == ()
    assert len(work(sweep(tmp_path), batch_sizes=(4,)).pending(tmp_path)) == 1


def test_passes_of_other_settings_are_removed(tmp_path: Path) -> None:
    found = work(sweep(tmp_path), batch_sizes=(4,))
    (one,) = found.passes
    others = [
        replace(one, batch_size=2),
        replace(one, batch_size=8, settings=("k8", "k4")),
        replace(one, batch_size=9, identity={}),
    ]
    paths = {pass_of.batch_size: write(tmp_path, pass_of) for pass_of in (one, *others)}
    found.remove_others(tmp_path)
    assert {size for size, path in paths.items() if path.exists()} == {4, 2}


def test_only_a_pass_that_has_ended_may_be_of_another_machine(tmp_path: Path) -> None:
    elsewhere = work(sweep(tmp_path), batch_sizes=(4, 8))
    here = elsewhere.on_this_machine()
    ended, begun = (replace(one, identity={**one.identity, MACHINE: "b"}) for one in here.passes)
    PassFile(tmp_path, ended).end("budget")
    path = write(tmp_path, begun)
    assert [one.batch_size for one in elsewhere.pending(tmp_path)] == [8]
    assert here.passes[1].identity[MACHINE] not in {None, "b", platform.node()}
    here.remove_others(tmp_path)
    assert not path.exists()


def write(folder: Path, one: TimedPass) -> Path:
    PassFile(folder, one)
    return pass_path(folder, one)
