"""A routing trace checks its arrays, and selects tokens of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.tokens import PADDING
from tests.routing.traces import layer_of, random_logits, tokens_of, trace_of

N = 40


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("token_id", np.full(N, -2), "tokens.token_id has values from -2 to -2"),
        ("modality", np.full(N, PADDING), "tokens.modality has values from 2 to 2; possible is 0"),
        ("phase", np.full(N, 2), "tokens.phase"),
        ("question", np.full(N, -1), "tokens.question has values from -1 to -1; possible is 0 or"),
        ("position", np.arange(N - 1), "different lengths"),
    ],
)
def test_tokens_out_of_range_are_refused(name: str, values: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        tokens_of(N, **{name: values})


def test_tokens_of_another_type_are_refused() -> None:
    tokens = tokens_of(N)

    with pytest.raises(DataError, match=r"tokens\.task is int64 \(40,\) instead of int16"):
        replace(tokens, task=tokens.task.astype(np.int64))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_experts": 4}, "experts has values from 0 to 7; possible is 0 to 3"),
        ({"published_k": 4}, "published_k=4 is not 1 to 3, of 3 recorded experts"),
        ({"published_k": 0}, "published_k=0 is not 1 to"),
        ({"experts": np.zeros((N, 3), np.int16)}, "the same expert twice"),
        ({"experts": np.zeros(N, np.int16)}, "instead of int16 with 2 dimension"),
        ({"scores": np.zeros((N, 2), np.float32)}, r"shape \(40, 2\) instead of \(40, 3\)"),
        ({"scores": np.full((N, 3), 2, np.float32)}, "scores are not all from 0 to 1"),
        ({"scores": np.full((N, 3), np.nan, np.float32)}, "scores are not all from 0 to 1"),
        ({"scores": np.full((N, 3), [0.1, 0.2, 0.1], np.float32)}, "do not descend"),
        ({"scores": np.full((N, 3), 0.5, np.float32)}, "sum to more than 1"),
        ({"entropy": np.full(N, -1, np.float32)}, "entropy has values from -1.0"),
        ({"entropy": np.full(N - 1, 1, np.float32)}, r"shape \(39,\) instead of \(40,\)"),
        ({"rows": np.zeros(N, np.int64)}, "rows do not ascend"),
    ],
)
def test_values_that_no_router_has_are_refused(changes: dict[str, Any], expected: str) -> None:
    layer = layer_of(random_logits(N))

    with pytest.raises(DataError, match=expected):
        replace(layer, **changes)


def test_routers_with_a_bias_or_with_sigmoids_have_other_scores() -> None:
    layer = layer_of(random_logits(N))
    rising = np.full((N, 3), [0.5, 0.6, 0.1], np.float32)

    biased = replace(layer, scores=rising, ranked_by_score=False, scores_sum_to_one=False)

    assert biased.scores is rising


def test_experts_that_compute_nothing_are_the_last() -> None:
    layer = replace(layer_of(random_logits(N)), num_experts=6, num_zero_experts=2)

    assert layer.num_choices == 8
    with pytest.raises(DataError, match="possible is 0 to 6"):
        replace(layer, num_zero_experts=1)


def test_layers_and_tokens_must_fit_together() -> None:
    trace = trace_of(N)
    layer = trace.layers[0]

    with pytest.raises(DataError, match=r"layers have the same path: layers.0.mlp"):
        replace(trace, layers=(layer, layer))
    with pytest.raises(DataError, match=r"shape \(40,\) instead of \(39,\)"):
        replace(trace, tokens=trace.tokens.take(np.arange(N - 1)))
    with pytest.raises(DataError, match="rows has values from 1 to 40; possible is 0 to 39"):
        replace(trace, layers=(replace(layer, rows=np.arange(1, N + 1)),))
    with pytest.raises(DataError, match=r"tokens.task has values from 0 to 1; possible is 0 to 0"):
        replace(trace, tasks=("vqa",))


def test_a_selection_keeps_the_tokens_of_a_task_modality_and_phase() -> None:
    trace = trace_of(N)
    mask = (trace.tokens.task == 1) & (trace.tokens.modality == 0) & (trace.tokens.phase == 0)

    selected = trace.select(task="text", modality="text", phase="prefill")

    assert selected.n_tokens == mask.sum() > 0
    assert selected.tokens.position.tolist() == np.flatnonzero(mask).tolist()
    assert (selected.layers[1].experts == trace.layers[1].experts[mask]).all()
    assert selected.layers[0].rows is None
    assert (selected.modalities, selected.phases) == (("text",), ("prefill",))


def test_a_selection_renumbers_the_rows_of_a_layer_that_saw_some_tokens() -> None:
    trace = trace_of(N)
    seen = np.arange(0, N, 3)
    part = trace.layers[0].take(seen, rows=seen)
    partial = replace(trace, layers=(part, trace.layers[1]))

    selected = partial.select(phase="prefill")

    layer = selected.layers[0]
    positions = selected.tokens.position[selected.rows_of(layer)]
    assert positions.tolist() == [row for row in seen if trace.tokens.phase[row] == 0]
    assert (layer.experts == trace.layers[0].experts[positions]).all()
    assert selected.tokens_of(layer).position.tolist() == positions.tolist()


def test_an_unknown_task_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no task 'ocr'. Name one of: vqa, text."):
        trace_of(N).select(task="ocr")
