"""A study agrees with plain loops on random traces, group by group."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import fmean, median
from typing import TYPE_CHECKING

import numpy as np
import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.tokens import CONTENT, PHASES
from moe_eval_plugin.routing.statistics.options import StudyOptions
from moe_eval_plugin.routing.statistics.study import study
from moe_eval_plugin.routing.statistics.tables import TokenGroup
from moe_eval_plugin.stats.resampling import Bootstrap
from tests.routing.statistics import slow
from tests.routing.traces import NUM_EXPERTS, K, layer_of, random_logits, tokens_of, trace_of

if TYPE_CHECKING:
    from moe_eval_plugin.routing.statistics.tables import GroupRouting, RoutingStudy
    from moe_eval_plugin.routing.trace import RoutingTrace

OPTIONS = StudyOptions(min_count=5, bootstrap=Bootstrap(n_resamples=200))


@pytest.fixture(scope="module")
def trace() -> RoutingTrace:
    return trace_of()


@pytest.fixture(scope="module")
def other() -> RoutingTrace:
    return trace_of(seed=1)


@pytest.fixture(scope="module")
def found(trace: RoutingTrace, other: RoutingTrace) -> RoutingStudy:
    return study(trace, other, OPTIONS)


def part_of(trace: RoutingTrace, group: TokenGroup) -> RoutingTrace:
    """The trace of a group's tokens, cut out by hand."""
    values = {
        "all": np.zeros(trace.n_tokens),
        "modality": trace.tokens.modality,
        "phase": trace.tokens.phase,
        "task": trace.tokens.task,
    }
    names: dict[str, tuple[str, ...]] = {
        "all": ("all",),
        "modality": CONTENT,
        "phase": PHASES,
        "task": trace.tasks,
    }
    rows = np.flatnonzero(values[group.kind] == names[group.kind].index(group.name))
    layers = tuple(layer.take(rows) for layer in trace.layers)
    return replace(trace, tokens=trace.tokens.take(rows), layers=layers)


def test_groups_are_all_tokens_then_modalities_phases_and_tasks(found: RoutingStudy) -> None:
    expected = [
        TokenGroup("all", "all"),
        TokenGroup("modality", "text"),
        TokenGroup("modality", "image"),
        TokenGroup("phase", "prefill"),
        TokenGroup("phase", "decode"),
        TokenGroup("task", "vqa"),
        TokenGroup("task", "text"),
    ]

    assert [entry.group for entry in found.layers[1].groups] == expected
    assert [entry.group for entry in found.summary] == expected


def test_a_kind_of_group_is_left_out_where_all_tokens_are_of_one(trace: RoutingTrace) -> None:
    found = study(trace.select(task="vqa", modality="text", phase="prefill"), options=OPTIONS)

    assert [entry.group.name for entry in found.layers[0].groups] == ["all"]
    assert found.layers[0].by_task is None


@pytest.mark.parametrize("number", range(7))
def test_every_group_agrees_with_loops(
    number: int, found: RoutingStudy, trace: RoutingTrace, other: RoutingTrace
) -> None:
    for index, studied in enumerate(found.layers):
        entry = studied.groups[number]
        layer = part_of(trace, entry.group).layers[index]
        second = part_of(other, entry.group).layers[index]
        assert entry.n_tokens == layer.n_tokens > 0
        assert list(entry.load.tokens) == slow.load(layer)
        assert entry.load.largest == pytest.approx(max(slow.load(layer)) / fmean(slow.load(layer)))
        assert layer.entropy is not None
        assert entry.entropy is not None
        assert entry.entropy.mean == pytest.approx(fmean(layer.entropy.tolist()))
        check_scores(entry, layer)
        assert entry.saturation is not None
        assert [row.k for row in entry.saturation] == [1, 2]
        for row in entry.saturation:
            assert row.overlap == pytest.approx(slow.saturation(layer, second, row.k))
            assert row.n_tokens == layer.n_tokens


def check_scores(entry: GroupRouting, layer: object) -> None:
    """Compare margins and mass with loops."""
    assert entry.margins is not None
    assert [row.k for row in entry.margins] == [1, 2]
    for margin in entry.margins:
        values = slow.margins(layer, margin.k)  # type: ignore[arg-type]
        assert margin.margin.mean == pytest.approx(fmean(values), rel=1e-5)
        assert margin.median == pytest.approx(median(values), rel=1e-5)
        assert margin.margin.p10 == pytest.approx(slow.percentile(values, 0.1), rel=1e-5)
    assert entry.mass is not None
    assert [row.k for row in entry.mass] == [1, 2]
    for mass in entry.mass:
        values = slow.retained(layer, mass.k)  # type: ignore[arg-type]
        assert mass.retained.mean == pytest.approx(fmean(values))
        assert mass.retained.p10 == pytest.approx(slow.percentile(values, 0.1))
        assert mass.retained.p90 == pytest.approx(slow.percentile(values, 0.9))


def test_the_summary_is_the_mean_over_layers_of_each_token(
    found: RoutingStudy, trace: RoutingTrace, other: RoutingTrace
) -> None:
    for entry in found.summary:
        first, second = part_of(trace, entry.group), part_of(other, entry.group)
        by_layer = [slow.retained(layer, 1) for layer in first.layers]
        by_token = [fmean(values) for values in zip(*by_layer, strict=True)]
        overlaps = [
            slow.saturation(one, two, 2)
            for one, two in zip(first.layers, second.layers, strict=True)
        ]
        assert entry.n_tokens == first.n_tokens
        pairs = zip(first.tokens.task, first.tokens.question, strict=True)
        assert entry.n_questions == len(set(pairs))
        assert entry.mass is not None
        assert entry.mass[0].retained.mean == pytest.approx(fmean(by_token))
        assert entry.mass[0].retained.p90 == pytest.approx(slow.percentile(by_token, 0.9))
        assert entry.saturation is not None
        assert entry.saturation[1].overlap == pytest.approx(fmean(overlaps))


def test_intervals_are_of_questions_and_hold_the_mean(found: RoutingStudy) -> None:
    for rows in (found.layers[0].groups[0], found.summary[0], found.summary[3]):
        assert rows.mass is not None
        assert rows.saturation is not None
        assert rows.mass[0].interval is not None
        assert rows.saturation[0].interval is not None
        assert rows.mass[0].interval.holds(rows.mass[0].retained.mean)
        assert rows.saturation[0].interval.holds(rows.saturation[0].overlap)
        assert rows.mass[0].interval.high > rows.mass[0].interval.low


def test_with_few_questions_there_is_no_interval(trace: RoutingTrace) -> None:
    few = replace(trace, tokens=replace(trace.tokens, question=trace.tokens.question // 8))

    found = study(few, options=OPTIONS)

    assert found.summary[0].n_questions == 6
    assert found.summary[0].mass is not None
    assert found.summary[0].mass[0].interval is None


def test_a_layer_that_saw_some_tokens_is_studied_over_these(trace: RoutingTrace) -> None:
    seen = np.flatnonzero(trace.tokens.modality == 1)
    part = trace.layers[0].take(seen, rows=seen)
    partial = replace(trace, layers=(part, trace.layers[1]))

    found = study(partial, replace(trace_of(seed=1)), OPTIONS)

    studied = found.layers[0]
    assert studied.n_tokens == len(seen)
    assert studied.group("modality", "text") is None
    images = studied.group("modality", "image")
    assert images is not None
    assert list(images.load.tokens) == slow.load(part)
    assert images.saturation is not None
    second = trace_of(seed=1).layers[0].take(seen)
    assert images.saturation[1].overlap == pytest.approx(slow.saturation(part, second, 2))
    assert studied.by_token is None  # ids of image positions say nothing


def test_without_scores_nothing_of_them_is_told(trace: RoutingTrace) -> None:
    bare = replace(trace.layers[0], scores=None, entropy=None)

    found = study(replace(trace, layers=(bare,)), options=OPTIONS)

    entry = found.layers[0].groups[0]
    assert (entry.mass, entry.margins, entry.entropy, entry.saturation) == (None,) * 4
    assert found.summary[0].mass is None


def test_the_share_of_all_probability_needs_scores_that_sum_to_one(trace: RoutingTrace) -> None:
    sigmoids = replace(trace.layers[0], scores_sum_to_one=False)

    with_sigmoids = study(replace(trace, layers=(sigmoids, trace.layers[1])), options=OPTIONS)
    with_softmax = study(trace, options=OPTIONS)

    scores = trace.layers[0].scores
    assert scores is not None
    softmax, mixed = with_softmax.layers[0].groups[0].mass, with_sigmoids.layers[0].groups[0].mass
    assert softmax is not None
    assert mixed is not None
    assert softmax[1].of_all == pytest.approx(float(scores[:, :2].sum(axis=1).mean()))
    assert mixed[1].of_all is None
    assert with_sigmoids.summary[0].mass is not None
    assert with_sigmoids.summary[0].mass[1].of_all is None


def test_tokens_whose_scores_are_all_zero_are_left_out(trace: RoutingTrace) -> None:
    layer = trace.layers[0]
    assert layer.scores is not None
    scores = layer.scores.copy()
    scores[:100] = 0
    expected = slow.retained(layer.take(np.arange(100, 300)), 1)

    found = study(replace(trace, layers=(replace(layer, scores=scores),)), options=OPTIONS)

    assert found.summary[0].mass is not None
    assert found.summary[0].mass[0].retained.mean == pytest.approx(fmean(expected))


def test_layers_of_different_k_have_no_common_summary(trace: RoutingTrace) -> None:
    wide = layer_of(random_logits(300), k=4, path="wide")

    found = study(replace(trace, layers=(trace.layers[0], wide)), options=OPTIONS)

    assert found.summary[0].mass is None
    assert found.layers[1].groups[0].mass is not None
    assert [row.k for row in found.layers[1].groups[0].mass] == [1, 2, 3, 4]


def test_zero_experts_are_told_apart_in_the_load(trace: RoutingTrace) -> None:
    layer = replace(trace.layers[0], num_experts=6, num_zero_experts=2)
    n_ffn = [sum(expert < 6 for expert in row) for row in slow.chosen(layer)]

    entry = study(replace(trace, layers=(layer,)), options=OPTIONS).layers[0].groups[0]

    assert len(entry.load.tokens) == 8
    assert entry.load.zero_share == pytest.approx(1 - sum(n_ffn) / (K * 300))
    assert entry.load.ffn_k is not None
    assert entry.load.ffn_k.mean == pytest.approx(fmean(n_ffn))


def test_entropy_and_gini_of_the_load_by_hand() -> None:
    experts = np.array([[0, 1]] * 4, np.int16)
    layer = layer_of(random_logits(4, 4), experts=experts, scores=None, entropy=None)
    trace = trace_of(4, layers=(layer,))

    load = study(trace, options=OPTIONS).layers[0].groups[0].load

    assert load.tokens == (4, 4, 0, 0)
    assert load.entropy == pytest.approx(0.5)  # 2 of 4 experts, of equal load: ln 2 / ln 4
    assert load.gini == pytest.approx(0.5)
    assert load.unused == (2, 3)
    assert load.largest == pytest.approx(2)


def test_a_study_of_an_empty_trace_has_no_numbers() -> None:
    trace = trace_of(0)

    found = study(trace, trace, OPTIONS)

    assert (found.n_tokens, found.n_questions) == (0, 0)
    assert found.layers[0].groups == ()
    assert (found.layers[0].coactivation, found.layers[0].by_token) == (None, None)
    assert found.summary[0].mass is None


def test_the_tables_are_json(found: RoutingStudy) -> None:
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert content["against"] == "tiny"
    assert content["layers"][0]["groups"][0]["load"]["tokens"] == list(
        found.layers[0].groups[0].load.tokens
    )
    lift = content["layers"][0]["coactivation"]["lift"]
    assert lift[0][0] is None
    assert len(lift) == len(lift[0]) == NUM_EXPERTS


def test_notes_of_both_traces_are_kept(trace: RoutingTrace) -> None:
    noted = replace(trace, notes=("One.", "Both."))

    found = study(noted, replace(trace, notes=("Both.",)), OPTIONS)

    assert found.notes == ("One.", "Both.")


def test_impossible_options_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"min_count=0 is not possible\. Use 1 or more"):
        StudyOptions(min_count=0)


def test_tokens_of_one_question_are_not_independent() -> None:
    tokens = tokens_of(2000, question=np.arange(2000) // 100, task=np.zeros(2000))
    generator = np.random.default_rng(0)
    steady = np.repeat(generator.normal(size=(20, NUM_EXPERTS)) * 2, 100, axis=0)
    by_question = trace_of(2000, tasks=("vqa",), tokens=tokens, layers=(layer_of(steady),))
    mixed = replace(by_question, layers=(layer_of(generator.permutation(steady)),))

    widths = []
    for one in (by_question, mixed):
        mass = study(one, options=OPTIONS).layers[0].groups[0].mass
        assert mass is not None
        assert mass[0].interval is not None
        widths.append(mass[0].interval.high - mass[0].interval.low)

    # 20 questions instead of 2000 tokens: about 10 times as wide.
    assert widths[0] > 5 * widths[1]
