from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.publish.reproduce.compared_sweeps import compared, row, verdict

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
    assert agreement.agrees
