"""Saturation: the share of the first k experts that two checkpoints have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moe_eval_plugin.routing.statistics.options import StudyOptions
from moe_eval_plugin.routing.statistics.saturation import overlap_of
from moe_eval_plugin.routing.statistics.study import study
from moe_eval_plugin.stats.resampling import Bootstrap
from tests.routing.statistics import slow
from tests.routing.traces import layer_of, random_logits, trace_of

OPTIONS = StudyOptions(bootstrap=Bootstrap(n_resamples=100))
ALL = np.ones(300, dtype=np.bool_)
NO_INTERVALS = [None] * 5


def test_by_hand() -> None:
    experts = np.array([[0, 1, 2], [3, 4, 5]], np.int16)
    first = layer_of(random_logits(2), k=3, experts=experts, scores=None)
    second = replace(first, experts=np.array([[1, 0, 7], [5, 6, 7]], np.int16))

    rows = overlap_of(first, second, np.arange(2)).table(ALL[:2], NO_INTERVALS[:3])

    assert rows is not None
    assert [(row.k, row.overlap) for row in rows] == [
        (1, 0.0),
        (2, 0.5),  # {0, 1} and {1, 0}; {3, 4} and {5, 6}
        (3, pytest.approx(0.5)),  # two of three, and one of three
    ]


@pytest.mark.parametrize(
    ("k", "ks"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (7, [1, 2, 4, 6, 7])]
)
def test_values_of_k_are_those_of_flame_moe_and_the_published_one(k: int, ks: list[int]) -> None:
    first, second = (layer_of(random_logits(300, 16, seed), k=k) for seed in (0, 1))

    rows = overlap_of(first, second, np.arange(300)).table(ALL, [None] * len(ks))

    assert rows is not None
    assert [row.k for row in rows] == ks
    for row in rows:
        assert row.overlap == pytest.approx(slow.saturation(first, second, row.k))


def test_the_same_trace_has_an_overlap_of_one() -> None:
    found = study(trace_of(), trace_of(), OPTIONS).summary[0].saturation

    assert found is not None
    assert [row.overlap for row in found] == [1, 1]
    assert found[0].interval is not None
    assert (found[0].interval.low, found[0].interval.high) == (1, 1)


def test_routers_that_know_nothing_of_each_other_are_at_chance() -> None:
    n_tokens = 20_000
    # Both prefer the same experts, so that chance is far from k over the number of experts.
    biases = 2 * np.random.default_rng(9).normal(size=16)
    noise = (np.random.default_rng(seed).gumbel(size=(n_tokens, 16)) for seed in (0, 1))
    first, second = (layer_of(biases + one, k=4) for one in noise)

    rows = overlap_of(first, second, np.arange(n_tokens)).table(np.ones(n_tokens, bool), [None] * 3)

    assert rows is not None
    for row in rows:
        assert row.overlap == pytest.approx(row.chance, abs=0.01)
        assert row.chance > 2 * row.k / 16 or row.k == 4
    assert rows[0].chance > 0.2


def test_chance_is_that_of_the_two_loads() -> None:
    loads = [slow.load(layer) for layer in (layer_of(random_logits(300, seed=s)) for s in (0, 7))]
    first, second = (layer_of(random_logits(300, seed=seed)) for seed in (0, 7))
    expected = sum(a / 300 * b / 300 for a, b in zip(*loads, strict=True)) / 2

    rows = overlap_of(first, second, np.arange(300)).table(ALL, NO_INTERVALS[:2])

    assert rows is not None
    assert rows[1].chance == pytest.approx(expected)


def test_the_summary_has_the_mean_chance_of_the_layers() -> None:
    found = study(trace_of(), trace_of(seed=1), OPTIONS)

    tables = [layer.groups[2].saturation for layer in found.layers]
    of_layers = [rows[1].chance for rows in tables if rows is not None]
    assert found.summary[2].saturation is not None
    assert len(of_layers) == 2
    assert found.summary[2].saturation[1].chance == pytest.approx(sum(of_layers) / 2)


def test_decoded_answers_that_differ_are_left_out() -> None:
    trace = trace_of()
    other = trace_of(seed=1)
    decoded = trace.tokens.phase == 1
    ids = np.where(decoded, trace.tokens.token_id + 1, trace.tokens.token_id).astype(np.int32)
    longer = np.concatenate([np.arange(300), np.flatnonzero(decoded)[-1:]])
    tokens = replace(trace.tokens, token_id=ids).take(longer)
    answered = replace(
        other, tokens=tokens, layers=tuple(layer.take(longer) for layer in other.layers)
    )

    found = study(trace, answered, OPTIONS).layers[0]

    everything, decode = found.group(), found.group("phase", "decode")
    assert everything is not None
    assert decode is not None
    assert decode.saturation is None
    assert everything.saturation is not None
    prompts = np.flatnonzero(~decoded)
    assert everything.saturation[1].n_tokens == len(prompts) < everything.n_tokens
    assert everything.saturation[1].overlap == pytest.approx(
        slow.saturation(trace.layers[0].take(prompts), other.layers[0].take(prompts), 2)
    )
