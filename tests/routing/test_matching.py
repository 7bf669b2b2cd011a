"""Two traces are compared only where their tokens and layers are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.routing.matching import match
from tests.routing.traces import layer_of, random_logits, trace_of

N = 60


def test_the_same_tokens_belong_together_row_by_row() -> None:
    found = match(trace_of(N), trace_of(N, seed=1))

    assert found.rows.tolist() == list(range(N))
    assert list(found.layers) == ["layers.0.mlp", "layers.1.mlp"]


def test_rows_of_layers_that_saw_some_tokens_are_found() -> None:
    trace = trace_of(N)
    seen = np.array([1, 4, 9])
    part = trace.layers[0].take(seen, rows=seen)

    found = match(trace, replace(trace, layers=(part,)))

    assert found.rows_of(np.array([0, 4, 9, 10]), part).tolist() == [-1, 1, 2, -1]


def test_layers_of_one_trace_alone_are_left_out() -> None:
    trace = trace_of(N, n_layers=3)

    found = match(trace, replace(trace, layers=trace.layers[1:]))

    assert list(found.layers) == ["layers.1.mlp", "layers.2.mlp"]


def test_another_token_is_named() -> None:
    trace = trace_of(N)
    ids = trace.tokens.token_id.copy()
    row = int(np.flatnonzero(trace.tokens.phase == 0)[5])
    ids[row] += 20
    place = int((trace.tokens.phase[:row] == 0).sum()) + 1
    expected = f"token {place} is not the same: token id {ids[row] - 20} and {ids[row]}. Collect"

    with pytest.raises(DataError, match=expected):
        match(trace, replace(trace, tokens=replace(trace.tokens, token_id=ids)))


def test_another_number_of_tokens_is_named() -> None:
    trace = trace_of(N)
    prompts = trace.select(phase="prefill")
    fewer = np.arange(prompts.n_tokens - 1)
    layers = tuple(layer.take(fewer) for layer in prompts.layers)
    expected = f"one has {prompts.n_tokens} tokens, the other {prompts.n_tokens - 1}"

    with pytest.raises(DataError, match=expected):
        match(trace, replace(prompts, tokens=prompts.tokens.take(fewer), layers=layers))


def test_other_tasks_are_named() -> None:
    trace = trace_of(N)

    with pytest.raises(DataError, match="one has the tasks vqa, text, the other vqa, ocr"):
        match(trace, replace(trace, tasks=("vqa", "ocr")))


def test_other_layers_are_named() -> None:
    trace = trace_of(N)
    other = layer_of(random_logits(N), path="layer 2")

    with pytest.raises(DataError, match=r"the first ones: layers\.0\.mlp and layer 2"):
        match(trace, replace(trace, layers=(other,)))


def test_another_number_of_experts_is_named() -> None:
    trace = trace_of(N)
    other = layer_of(random_logits(N, 16), path="layers.0.mlp")

    with pytest.raises(DataError, match=r"layers\.0\.mlp has 8 experts in one and 16 in the other"):
        match(trace, replace(trace, layers=(other,)))
