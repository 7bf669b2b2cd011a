"""Observations are plain counts: their sums, their statistics, merging and the way to JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.experts.layer_observation import LayerObservation, StepCount, TokenCount
from moe_eval_plugin.experts.observation import (
    InputTokenCount,
    Observation,
    distinct_by_layer,
    merge,
)
from moe_eval_plugin.experts.tokens import OBSERVED_MODALITIES, PHASES, ObservedModality, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_layers_that_were_not_seen_make_no_count() -> None:
    seen = LayerObservation(8, 0, steps=(StepCount("decode", 4, 10, 1, 3),))
    unseen = LayerObservation(8, 0)
    image = LayerObservation(8, 0, modality="image")
    layers = {"layers.0.mlp.experts": seen, "layers.1.mlp.experts": seen}
    assert distinct_by_layer(Observation(layers), "decode") == (2.5, 2.5)
    assert distinct_by_layer(Observation(layers), "prefill") == ()
    both = {"layers.0.text_moe.experts": seen, "layers.0.vision_moe.experts": image}
    assert distinct_by_layer(Observation(both), "decode") == (2.5,)
    assert (
        distinct_by_layer(Observation({**layers, "layers.2.mlp.experts": unseen}), "decode") == ()
    )


TEXT_LAYER, IMAGE_LAYER, DENSE_LAYER = "layers.1.text_moe", "layers.1.vision_moe", "layers.0.mlp"


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Counts of one layer with 2 experts, as a probe gives them."""
    keys = st.tuples(
        st.sampled_from(PHASES), st.sampled_from(OBSERVED_MODALITIES), st.integers(0, 2)
    )
    rows = draw(st.dictionaries(keys, st.integers(1, 9)))
    steps = draw(st.dictionaries(st.sampled_from(PHASES), st.lists(st.integers(0, 2), min_size=1)))
    layer = LayerObservation(
        num_experts=2,
        num_zero_experts=0,
        tokens=tuple(TokenCount(*key, n) for key, n in sorted(rows.items())),
        ffn_tokens=tuple(TokenCount(*key, n) for key, n in sorted(rows.items())),
        load=tuple(draw(st.lists(st.integers(0, 9), min_size=2, max_size=2))),
        steps=tuple(
            StepCount(phase, len(seen), sum(seen), min(seen), max(seen))
            for phase, seen in sorted(steps.items())
        ),
    )
    input_tokens = draw(
        st.dictionaries(st.tuples(*map(st.sampled_from, (PHASES, OBSERVED_MODALITIES))), st.just(3))
    )
    return Observation(
        {"mlp": layer}, tuple(InputTokenCount(*key, n) for key, n in sorted(input_tokens.items()))
    )


def some() -> Observation:
    """A layer for all tokens, and one for each modality; an image in the prompt, then text."""
    tokens: Sequence[TokenCount] = (
        TokenCount("decode", "text", 1, 2),
        TokenCount("prefill", "image", 2, 4),
        TokenCount("prefill", "padding", 3, 5),
        TokenCount("prefill", "text", 4, 6),
    )
    return Observation(
        {
            DENSE_LAYER: LayerObservation(4, 0, None, tuple(tokens), tuple(tokens)),
            TEXT_LAYER: LayerObservation(4, 0, "text", (TokenCount("prefill", "text", 4, 6),)),
            IMAGE_LAYER: LayerObservation(4, 0, "image", (TokenCount("prefill", "image", 2, 4),)),
        },
        (
            InputTokenCount("decode", "text", 2),
            InputTokenCount("prefill", "image", 4),
            InputTokenCount("prefill", "padding", 5),
            InputTokenCount("prefill", "text", 6),
        ),
    )


@pytest.mark.parametrize(
    ("modality", "phase", "expected"),
    [
        (None, None, {1: 2, 2: 4, 4: 6}),
        ("text", None, {1: 2, 4: 6}),
        ("image", None, {2: 4}),
        ("padding", None, {3: 5}),
        (None, "prefill", {2: 4, 4: 6}),
        (None, "decode", {1: 2}),
        ("image", "decode", {}),
    ],
)
def test_histograms_are_chosen_by_modality_and_phase(
    modality: ObservedModality | None, phase: Phase | None, expected: dict[int, int]
) -> None:
    observation = some()
    assert observation.by_layer(modality, phase)[DENSE_LAYER] == expected
    n = sum(expected.values())
    mean = sum(k * count for k, count in expected.items()) / n if n else None
    assert observation.mean_k(DENSE_LAYER, modality, phase) == mean


def test_a_layer_of_one_modality_is_asked_for_its_own_tokens_only() -> None:
    observation = some()
    assert set(observation.by_layer()) == {DENSE_LAYER, TEXT_LAYER, IMAGE_LAYER}
    assert set(observation.by_layer("text")) == {DENSE_LAYER, TEXT_LAYER}
    assert set(observation.by_layer(phase="decode")) == {DENSE_LAYER, TEXT_LAYER}
    assert observation.by_layer(phase="decode")[TEXT_LAYER] == {}


def test_tokens_that_the_experts_did_not_get_are_missed() -> None:
    assert some().missed_tokens() == {TEXT_LAYER: 2}


def test_sums_over_layers() -> None:
    observation = some()
    assert observation.distinct_k() == (1, 2, 4)
    assert observation.distinct_k("padding") == (3,)
    assert observation.mean_k(modality="image") == 2
    assert observation.n_tokens("text") == 8
    assert observation.n_tokens("text", "decode") == 2


def test_nothing_observed_is_not_zero() -> None:
    layer = LayerObservation(4, 0)
    observation = Observation({"mlp": layer})
    assert observation.by_layer() == {"mlp": {}}
    assert observation.mean_k() is observation.mean_ffn_k() is None
    assert layer.load_entropy is layer.load_gini is layer.distinct_per_step("decode") is None
    assert observation.to_dict()["layers"]["mlp"]["load"] == {
        "entropy": None,
        "gini": None,
        "n_unused_experts": None,
    }


def test_an_unknown_layer_is_an_error() -> None:
    with pytest.raises(KeyError):
        some().mean_k("layers.7")


@settings(deadline=None)
@given(one=observations(), other=observations())
def test_merging_adds_up_and_does_not_mind_the_order(one: Observation, other: Observation) -> None:
    both = merge([one, other])
    assert both == merge([other, one])
    assert merge([one]) == one
    for modality in OBSERVED_MODALITIES:
        for phase in PHASES:
            assert both.n_tokens(modality, phase) == sum(
                part.n_tokens(modality, phase) for part in (one, other)
            )
            summed = [part.layers["mlp"].histogram(modality, phase) for part in (one, other)]
            assert both.layers["mlp"].histogram(modality, phase) == summed[0] + summed[1]
    assert sum(both.layers["mlp"].load) == sum(sum(x.layers["mlp"].load) for x in (one, other))


def test_merged_steps_keep_their_ends() -> None:
    one, other = (
        Observation({"mlp": LayerObservation(8, 0, steps=(step,))})
        for step in (StepCount("decode", 2, 6, 2, 4), StepCount("decode", 1, 7, 7, 7))
    )
    step = merge([one, other]).layers["mlp"].distinct_per_step("decode")
    assert step == StepCount("decode", 3, 13, 2, 7)
    assert step.mean == pytest.approx(13 / 3)


def test_ranks_with_different_k_show_both() -> None:
    ranks = [
        Observation({"mlp": LayerObservation(8, 0, tokens=(TokenCount("prefill", "text", k, 5),))})
        for k in (4, 8)
    ]
    assert merge(ranks).by_layer() == {"mlp": {4: 5, 8: 5}}


def test_different_models_do_not_merge() -> None:
    parts = [Observation({"mlp": LayerObservation(experts, 0)}) for experts in (8, 16)]
    with pytest.raises(ValueError, match="copies of one model"):
        merge(parts)


def test_merging_nothing_gives_nothing() -> None:
    assert merge([]) == Observation({})


@settings(deadline=None)
@given(observation=observations())
def test_a_round_trip_through_json_changes_nothing(observation: Observation) -> None:
    assert Observation.from_state(json.loads(json.dumps(observation.to_state()))) == observation


def test_the_summary_is_json_of_a_size_that_tokens_do_not_change() -> None:
    one = some()
    many = merge([one] * 1000)
    assert json.loads(json.dumps(one.to_dict())) == one.to_dict()
    assert one.to_dict()["layers"][DENSE_LAYER]["observed_num_experts_per_tok"] == {
        "prefill": {"text": 4.0, "image": 2.0},
        "decode": {"text": 1.0, "image": None},
    }
    assert count_values(many.to_dict()) == count_values(one.to_dict())


def count_values(data: object) -> int:
    return sum(map(count_values, data.values())) if isinstance(data, dict) else 1
