from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.publish.reproduce.compared_sweeps import compared, row, verdict
from tests.report.report_runs import right
from tests.results.timing.timed_files import around, timed_pass, write_timed_pass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.publish.reproduce.agreement import Verdict


PER_S = "samples_per_s"


RATIO = "samples_per_s, speed-up"


def sweep_at(folder: Path, of_8: Sequence[float], of_2: Sequence[float]) -> Path:
    """Write a sweep with these speeds of its points, in samples per second."""
    return write_sweep(folder, rates={8: of_8, 2: of_2})


def test_a_speed_that_was_measured_once_is_shown_and_not_judged(tmp_path: Path) -> None:
    agreement = compared(
        sweep_at(tmp_path / "a", [10.0], [20.0]), sweep_at(tmp_path / "b", [10.0], [40.0])
    )
    found = row(agreement, "k2", RATIO)
    assert (found.original, found.again, found.verdict) == (2.0, 4.0, NOT_JUDGED)
    assert verdict(agreement, "k2", PER_S) == NOT_JUDGED
    assert agreement.agrees


@pytest.mark.parametrize(("within", "expected"), [(0.04, DIFFERS), (0.06, AGREES)])
def test_a_share_judges_every_speed(tmp_path: Path, within: float, expected: Verdict) -> None:
    agreement = compared(
        sweep_at(tmp_path / "a", [10.0], [20.0]),
        sweep_at(tmp_path / "b", [10.0], [21.0]),
        speed_within=within,
    )
    assert verdict(agreement, "k2", RATIO) == expected
    assert verdict(agreement, "k2", PER_S) == expected
    assert verdict(agreement, "k8", PER_S) == AGREES


@pytest.mark.parametrize(
    ("again", "expected"), [([21, 19.5, 20, 20.5, 19.8], AGREES), ([30, 31, 29, 30, 28], DIFFERS)]
)
def test_repeated_speeds_are_judged_by_their_intervals(
    tmp_path: Path, again: list[float], expected: Verdict
) -> None:
    agreement = compared(
        sweep_at(tmp_path / "a", [10, 10.1, 9.9, 10, 10.2], [20, 20.4, 19.6, 20, 20.1]),
        sweep_at(tmp_path / "b", [10, 9.9, 10.1, 10, 10.1], again),
    )
    for number in (RATIO, PER_S):
        found = row(agreement, "k2-seed0", number)
        assert found.verdict == expected
        assert found.interval is not None
    assert verdict(agreement, "k8-seed0", PER_S) == AGREES


def test_on_another_machine_only_the_ratio_is_judged(tmp_path: Path) -> None:
    original = sweep_at(tmp_path / "a", [10.0], [20.0])
    again = sweep_at(tmp_path / "b", [100.0], [200.0])
    for point in ("k8", "k2"):
        change(
            results_of(again, point),
            in_record(lambda one: one["provenance"].update(hardware={"kind": "cuda"})),
        )
    agreement = compared(original, again, speed_within=0.1)
    assert verdict(agreement, "k2", RATIO) == AGREES
    found = row(agreement, "k2", PER_S)
    assert found.verdict == NOT_JUDGED
    assert "another machine: kind cpu -> cuda" in found.reason
    assert any(one.startswith("another machine: kind cpu -> cuda") for one in agreement.notes)
    assert agreement.agrees


def timed(folder: Path, k8: Sequence[float], k2: Sequence[float], **options: Any) -> Path:
    """Write a sweep with a timed pass: the seconds of k 8 and 2 in each block."""
    write_timed_pass(write_sweep(folder), timed_pass({"k8": k8, "k2": k2}, **options))
    return folder


TIMED = "speed-up, batch size 4"


@pytest.mark.parametrize(
    ("again", "expected", "reason"),
    [
        (0.505, AGREES, "now by then 0.9"),
        (0.7, DIFFERS, "does not contain 1"),
    ],
)
def test_timed_passes_are_judged_by_the_ratio_of_their_speed_ups(
    tmp_path: Path, again: float, expected: Verdict, reason: str
) -> None:
    found = row(
        compared(
            timed(tmp_path / "a", around(1.0), around(0.5, spread=0.03)),
            timed(tmp_path / "b", around(3.0), around(3 * again, spread=0.03)),
        ),
        "k2",
        TIMED,
    )
    assert found.original == pytest.approx(2.0, rel=0.02)
    assert found.verdict == expected
    assert reason in found.reason
    assert found.interval is not None
    assert found.original_interval is not None
    assert found.original_interval.holds(2.0)


def test_a_speed_up_that_changed_its_sign_is_never_reproduced(tmp_path: Path) -> None:
    original = timed(tmp_path / "a", around(1.0), around(0.98, spread=0.05))
    again = timed(tmp_path / "b", around(1.0), around(1.02, spread=0.05))
    found = row(compared(original, again), "k2", TIMED)
    assert found.verdict == NOT_JUDGED
    assert found.reason.startswith("its sign changed; now by then")
    assert found.changed_sign
    assert verdict(compared(original, again, speed_within=0.5), "k2", TIMED) == NOT_JUDGED


def test_the_intervals_of_all_speed_ups_hold_together(tmp_path: Path) -> None:
    folders = []
    for name, factor in (("a", 0.7), ("b", 0.742)):
        folder = write_sweep(tmp_path / name, dict.fromkeys((8, 6, 4, 2), right))
        seconds = {f"k{k}": around(1.0, 8, 0.0) for k in (8, 6, 4)}
        seconds["k2"] = around(factor, 8, 0.05)
        write_timed_pass(folder, timed_pass(seconds))
        folders.append(folder)
    found = row(compared(*folders), "k2", TIMED)
    # By itself, with an interval of 95%, it would differ.
    assert "98% interval" in found.reason
    assert found.verdict == AGREES


def test_a_sweep_that_was_timed_once_is_compared_with_the_timed_pass_of_now(
    tmp_path: Path,
) -> None:
    original = sweep_at(tmp_path / "a", [10.0], [15.0])
    again = timed(tmp_path / "b", around(1.0), around(0.5))
    found = row(compared(original, again), "k2", TIMED)
    assert (found.original, found.original_interval, found.verdict) == (1.5, None, NOT_JUDGED)
    assert found.interval is not None
    assert "timed once" in found.reason
    back = row(compared(again, original), "k2", TIMED)
    assert (back.again, back.interval, back.verdict) == (1.5, None, NOT_JUDGED)


def test_a_batch_size_that_was_not_timed_again_is_not_judged(tmp_path: Path) -> None:
    original = timed(tmp_path / "a", around(1.0), around(0.5))
    again = timed(tmp_path / "b", around(1.0), around(0.5), batch_size=8)
    found = row(compared(original, again), "k2", TIMED)
    assert (found.again, found.verdict) == (None, NOT_JUDGED)


def test_a_busy_machine_is_noted_with_the_run_that_met_it(tmp_path: Path) -> None:
    original = timed(tmp_path / "a", around(1.0), around(0.5))
    again = timed(tmp_path / "b", around(1.0), around(0.5), load=MachineLoad(2, 5.0, 1.9))
    (note,) = [one for one in compared(original, again).notes if "machine was busy" in one]
    assert note.startswith("now: ")


def test_few_blocks_are_not_judged(tmp_path: Path) -> None:
    original = timed(tmp_path / "a", around(1.0, 2), around(0.5, 2))
    found = row(compared(original, original), "k2", TIMED)
    assert found.verdict == NOT_JUDGED
    assert "timed 2 times, fewer than 3" in found.reason


def test_no_speed_up_follows_from_runs_that_share_images(tmp_path: Path) -> None:
    original = sweep_at(tmp_path / "a", [10.0], [15.0])
    again = sweep_at(tmp_path / "b", [10.0], [15.0])
    for point in ("k8", "k2"):
        change(results_of(again, point), in_record(lambda one: one["speed"].update(is_shared=True)))
    found = row(compared(original, again), "k2", RATIO)
    assert (found.original, found.again, found.verdict) == (1.5, None, NOT_JUDGED)
    rate = row(compared(original, again, speed_within=0.1), "k2", PER_S)
    assert (rate.verdict, rate.reason) == (
        NOT_JUDGED,
        "images were shared between questions in one run only",
    )
    assert {one.number for one in compared(again, again).rows if one.kind == "speed"} == {
        "task_samples_per_s",
        "task_output_tokens_per_s",
    }
