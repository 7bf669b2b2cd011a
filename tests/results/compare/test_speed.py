from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.results.compare.compare import Options, compare_runs
from moe_eval_plugin.results.compare.text import render
from moe_eval_plugin.results.files import read_run
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.results.compare.compared_runs import QUICK
from tests.results.timing.timed_files import timed_pass, write_timed_pass

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.compare.comparison import Comparison
    from moe_eval_plugin.results.compare.speed import RateComparison

SECONDS = {"k8": [1.0] * 8, "k2": [0.5] * 8}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "sweep", rates={8: [30.0], 2: [46.5]})


def compared(a: Path, b: Path) -> Comparison:
    return compare_runs(read_run(a), read_run(b), None, Options(bootstrap=QUICK))


def rate(comparison: Comparison) -> RateComparison:
    """Return the rates of the only task at the only batch size."""
    speed = comparison.tasks[0].speed
    assert speed is not None
    (found,) = speed.rates
    return found


def lines(sweep: Path, a: str = "k8", b: str = "k2") -> list[str]:
    text = render(compared(results_of(sweep, a), results_of(sweep, b)))
    return [" ".join(line.split()) for line in text.splitlines()]


def test_two_settings_without_a_timed_pass_were_timed_once(sweep: Path) -> None:
    found = lines(sweep)
    assert "questions/s at batch size 8 30.0 -> 46.5 (1.55×, timed once)" in found
    assert "tokens per answer 2.00 -> 2.00" in found
    assert "peak memory, GiB 1.00 -> 1.00" in found


def test_two_settings_of_a_timed_pass_have_a_speed_up_with_an_interval(sweep: Path) -> None:
    write_timed_pass(sweep, timed_pass(SECONDS))
    write_timed_pass(sweep, timed_pass({"k8": [2.0], "k2": [1.0]}, batch_size=8))
    found = lines(sweep)
    assert "questions/s at batch size 4 4.00 -> 8.00: 2.00× (2.00 to 2.00)" in found
    assert "questions/s at batch size 8 4.00 -> 8.00 (2.00×, timed once)" in found
    # Neither has to be the baseline.
    assert "questions/s at batch size 4 8.00 -> 4.00: 0.50× (0.50 to 0.50)" in (
        lines(sweep, "k2", "k8")
    )


def test_a_seed_of_which_only_another_was_timed_has_the_speed_of_its_setting(
    tmp_path: Path,
) -> None:
    sweep = write_sweep(tmp_path / "sweep", rates={8: [10, 10], 2: [20, 20]})
    write_timed_pass(sweep, timed_pass({"k8-seed0": [1.0] * 8, "k2-seed0": [0.5] * 8}))
    assert "questions/s at batch size 4 4.00 -> 8.00: 2.00× (2.00 to 2.00)" in (
        lines(sweep, "k8-seed1", "k2-seed1")
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch_size": 16}, "batch size 8 -> 16"),
        ({"device": "cuda:0"}, "device None -> cuda:0"),
        ({"hardware": {"kind": "cpu", "threads": 2}}, "machine: name a processor -> None"),
        ({"n_ranks": 2}, "machine: processes None -> 2"),
    ],
)
def test_another_machine_or_batch_size_gives_no_speed_up(
    sweep: Path, changes: dict[str, Any], reason: str
) -> None:
    change(results_of(sweep, "k2"), in_record(lambda one: one["provenance"].update(changes)))
    assert any(f"30.0 -> 46.5 (no speed-up: {reason}" in line for line in lines(sweep))
    assert rate(compared(results_of(sweep, "k8"), results_of(sweep, "k2"))).speed_up is None


def test_task_throughput_gives_no_speed_up(sweep: Path) -> None:
    def share(one: dict[str, Any]) -> None:
        one["speed"]["is_shared"] = True

    change(results_of(sweep, "k2"), in_record(share))
    assert any(
        "(no speed-up: questions shared their images in B only)" in one for one in lines(sweep)
    )
    change(results_of(sweep, "k8"), in_record(share))
    assert any("rates of the task and not of requests)" in line for line in lines(sweep))


def test_points_of_two_sweeps_were_not_timed_by_turns(sweep: Path, tmp_path: Path) -> None:
    other = write_sweep(tmp_path / "other")
    for folder in (sweep, other):
        write_timed_pass(folder, timed_pass(SECONDS, batch_size=8))
    found = rate(compared(results_of(sweep, "k8"), results_of(other, "k2")))
    assert found.a == pytest.approx(8.0)
    assert found.speed_up is not None
    assert (found.speed_up.ratio, found.speed_up.interval) == (2.0, None)
