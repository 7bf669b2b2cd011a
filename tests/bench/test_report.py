"""The record of a bench: exact gains with a clock by hand, stored whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.bench.plan import BenchPlan
from moe_eval_plugin.bench.report import reference_k
from moe_eval_plugin.errors import DataError
from tests.bench.bench_reports import PLAN, a_report
from tests.bench.clockwork_engine import STEP_S

if TYPE_CHECKING:
    from pathlib import Path


def test_gains_over_the_published_k_are_exact() -> None:
    report = a_report()
    assert report.reference_num_experts_per_tok == 8
    assert [p.num_experts_per_tok for p in report.points] == [8, 8, 4, 4, 1, 1]
    for point in report.points:
        k = point.num_experts_per_tok
        assert k is not None
        assert point.decode_speedup is not None
        assert (point.decode_speedup.median, point.decode_speedup.n) == (8 / k, 3)
        assert point.prefill_speedup is not None
        assert point.prefill_speedup.median == 1.0


def test_ceilings_take_the_experts_that_the_reference_was_seen_to_touch() -> None:
    point = a_report().points[3]
    assert (point.num_experts_per_tok, point.batch_size) == (4, 2)
    # At k=8 two sequences touch 16 experts in each of 2 layers; weights of 100, and a cache of
    # 2 sequences with 6 + 4 positions of 10 numbers each.
    routed, rest = 2 * 16 * 100, 50 + 50 + 2 * 10 * 10
    ceiling = (routed + rest) / (routed / 2 + rest)
    assert point.decode is not None
    assert point.decode.speedup_ceiling == pytest.approx(ceiling)
    assert point.decode.predicted_speedup == pytest.approx(ceiling)
    assert point.decode.gain_efficiency == pytest.approx(2.0 / ceiling)
    assert point.decode.s_mbu == pytest.approx(4 * (routed / 2 + rest) / (4 * STEP_S) / 1e6)
    assert point.distinct_experts_per_decode_step == 8.0


def test_times_over_distinct_experts_are_fitted() -> None:
    report = a_report()
    layer = report.expert_layer_fit
    assert layer is not None
    assert layer.slope_s_per_expert == pytest.approx(STEP_S / 2)
    assert layer.r_squared == pytest.approx(1.0)
    step = report.decode_step_fit
    assert step is not None
    assert step.n_points == 6
    assert step.r_squared < 1.0


def test_a_model_whose_sizes_are_not_known_is_timed_all_the_same() -> None:
    report = a_report(cost=None)
    assert {(p.decode, p.prefill) for p in report.points} == {(None, None)}
    assert report.reasons == ("its sizes are not known",)
    assert report.points[-1].decode_speedup is not None


def test_a_model_as_it_is_has_no_gain() -> None:
    report = a_report(replace(PLAN, experts_k=(None,)))
    assert report.reference_num_experts_per_tok is None
    assert {p.decode_speedup for p in report.points} == {None}
    point = report.points[0]
    assert (point.num_experts_per_tok, point.observed_num_experts_per_tok) == (None, 8)
    assert point.decode is not None
    assert point.decode.s_mbu is not None
    assert point.decode.gain_efficiency is None


@pytest.mark.parametrize(
    ("ks", "baseline", "expected"),
    [
        ((8, 4), 8, 8),
        ((4, 8), 4, 4),
        ((2, 4), 8, 4),
        ((4, 2), None, 4),
        ((8,), 8, None),
        ((None,), 8, None),
    ],
)
def test_gains_are_against_the_published_k_or_the_largest(
    ks: tuple[int | None, ...], baseline: int | None, expected: int | None
) -> None:
    assert reference_k(BenchPlan(experts_k=ks), baseline) == expected


def test_a_report_is_stored_with_every_repetition(tmp_path: Path) -> None:
    report = a_report()
    report.save(tmp_path / "bench.json")
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert stored["schema_version"] == 1
    assert stored["kind"] == "bench"
    assert stored["latency_from"] == "call"
    assert stored["plan"]["experts_k"] == [8, 4, 1]
    assert stored["device"]["name"] == "a processor"
    assert stored["versions"]["torch"]
    assert stored["date"].endswith("+00:00")
    assert [len(point["repetitions"]) for point in stored["points"]] == [3] * 6
    assert stored["points"][0]["repetitions"][0]["joules"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    target.mkdir()
    with pytest.raises(DataError, match=r"bench\.json cannot be written"):
        a_report().save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
    with pytest.raises(DataError, match="cannot be written"):
        a_report().save(tmp_path / "no" / "bench.json")
