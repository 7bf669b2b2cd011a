"""A bench as a user reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.bench.plan import ImagePlan
from moe_eval_plugin.bench.text import number_text, render
from tests.bench.bench_reports import PLAN, a_report

if TYPE_CHECKING:
    from moe_eval_plugin.bench.measurement import Repetition
    from moe_eval_plugin.bench.report import BenchReport


def rows(text: str, title: str) -> list[list[str]]:
    (block,) = [part for part in text.split("\n\n") if part.startswith(f"{title}\n")]
    return [line.split() for line in block.splitlines()[2:]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.000"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_the_digits_that_they_need(value: float | None, text: str) -> None:
    assert number_text(value) == text


def test_each_point_has_its_row_by_batch_size() -> None:
    text = render(a_report())
    found = rows(text, "Decode")
    assert [row[:2] for row in found] == [
        [k, batch] for batch in ("1", "2") for k in ("8", "4", "1")
    ]
    # 2 sequences in steps of 4 * 0.25 s.
    assert found[4][:6] == ["4", "2", "2.00", "2.00-2.00", "1,000", "2.00×"]
    assert [row[4] for row in rows(text, "Prefill, memory and energy")] == ["2,000"] * 6


def test_what_is_not_known_is_a_dash_and_its_reason_a_note() -> None:
    text = render(a_report(cost=None))
    assert rows(text, "Decode")[0][6:9] == ["-", "-", "-"]
    assert "Note: its sizes are not known" in text
    assert "Note: there is no counter" in text


def test_the_spread_and_the_reference_are_explained() -> None:
    text = " ".join(render(a_report()).split())
    assert "the median of 3 rounds, then the smallest and the largest" in text
    assert "against k=8 at the same batch" in text
    assert "cost 0.000 ms plus 125 ms per distinct expert (fit over 6 points, R² 1.000)" in text


@pytest.mark.parametrize("changes", [{"r_squared": 0.54}, {"intercept_s": -0.0005}])
def test_a_poor_fit_is_not_shown(changes: dict[str, float]) -> None:
    report = a_report()
    assert report.expert_layer_fit is not None
    poor = replace(report.expert_layer_fit, **changes)
    assert "routed experts of one layer cost" in " ".join(render(report).split())
    assert "routed experts of one layer cost" not in " ".join(
        render(replace(report, expert_layer_fit=poor)).split()
    )


def test_a_model_as_it_is_has_no_words_on_gains() -> None:
    report = a_report(replace(PLAN, experts_k=(None,)))
    text = render(report)
    assert "Speed-up: against" not in text
    assert rows(text, "Decode")[0][0] == "8.00"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"baseline_num_experts_per_tok": 8}, "float32): 64 routed experts per MoE layer, k=8"),
        (
            {"baseline_num_experts_per_tok": 6, "num_shared_experts": 2},
            "k=6, and 2 shared that k does not count",
        ),
        ({}, "float32): a dense model"),
    ],
)
def test_routed_and_shared_experts_are_told_apart(facts: dict[str, int], words: str) -> None:
    report = a_report()
    text = render(replace(report, model={**report.model, **facts}))
    assert words in " ".join(text.split())


def test_random_weights_and_images_are_named() -> None:
    report = a_report(replace(PLAN, images=ImagePlan(2, (64, 32))))
    routed = replace(report, model={**report.model, "routing": "skewed:1"})
    text = " ".join(render(routed).split())
    assert "random weights, skewed:1 routing" in text
    assert "6 text tokens and 2 images of 64x32" in text


def by_vllm() -> BenchReport:
    """A bench of vLLM: its engine is described, and each repetition has the times of requests."""
    report = a_report()
    engine = {
        "version": "0.32.0",
        "enforce_eager": False,
        "kernels": ["TritonExperts"],
        "max_num_seqs": 16,
    }
    points = [
        replace(point, repetitions=tuple(map(with_requests, point.repetitions, (0.5, 0.3, 0.4))))
        for point in report.points
    ]
    return replace(
        report,
        model={**report.model, "weights": "random", "engine": engine},
        points=tuple(points),
    )


def with_requests(repetition: Repetition, queue_s: float) -> Repetition:
    part = {"median": queue_s, "p95": 9.0, "n": 2}
    times = {"queue_s": part, "prefill_s": part, "decode_s": part, "tpot_s": None}
    return replace(repetition, request_times=times)


def test_vllm_is_described_and_the_parts_of_a_request_have_a_table() -> None:
    text = render(by_vllm())
    words = " ".join(text.split())
    assert "(clock, random weights, float32)" in words
    assert "by vLLM 0.32.0 (compiled, TritonExperts, max_num_seqs 16)" in words
    title = "Single requests, by the engine's own clock"
    assert rows(text, title)[0] == ["8", "1", "400", "400", "400", "-"]
    assert title not in render(a_report())


def test_no_line_is_wider_than_100_columns() -> None:
    for report in (a_report(), by_vllm()):
        assert max(map(len, render(report).splitlines())) <= 100
