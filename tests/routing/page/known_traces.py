"""Traces whose statistics are known without computing them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from moe_eval_plugin.routing.trace import LayerTrace, RoutingTrace, Tokens

N_QUESTIONS, N_POSITIONS = 40, 10
N_TOKENS = N_QUESTIONS * N_POSITIONS
NUM_EXPERTS, PUBLISHED_K = 4, 2
# The two tokens of the vocabulary that occur, one after the other.
FIRST, SECOND = 5, 9
MODEL = "a/model"
# Of the two chosen experts and the next one, in each layer.
SCORES = ((0.6, 0.2, 0.1), (0.5, 0.3, 0.1), (0.44, 0.36, 0.15))
ONE, OTHER = (0, 1, 2), (2, 3, 0)


def tokens(*, images: bool = False) -> Tokens:
    """Return tokens of two tasks in turn; with ``images`` those of SECOND are image tokens."""
    number = np.arange(N_TOKENS)
    question = number // N_POSITIONS
    return Tokens(
        token_id=np.where(number % 2, SECOND, FIRST).astype(np.int32),
        task=(question % 2).astype(np.int16),
        modality=(number % 2 if images else number * 0).astype(np.int8),
        phase=np.zeros(N_TOKENS, np.int8),
        question=(question // 2).astype(np.int32),
        position=(number % N_POSITIONS).astype(np.int32),
    )


def layer(number: int, is_other: np.ndarray | bool, *, scores: bool = True) -> LayerTrace:
    """Return a layer whose tokens choose ONE, or OTHER where ``is_other``."""
    chosen = np.where(np.broadcast_to(is_other, N_TOKENS)[:, None], OTHER, ONE)
    shown = np.tile(np.float32(SCORES[number]), (N_TOKENS, 1))
    return LayerTrace(
        path=f"model.layers.{number + 1}.mlp",
        num_experts=NUM_EXPERTS,
        num_zero_experts=0,
        published_k=PUBLISHED_K,
        experts=chosen.astype(np.int16),
        scores=shown if scores else None,
    )


def known_trace(*, images: bool = False, scores: bool = True, model: str = MODEL) -> RoutingTrace:
    """Return three layers: all tokens choose alike, by their token, and by their task."""
    found = tokens(images=images)
    choices = (False, found.token_id == SECOND, found.task == 1)
    layers = [layer(number, other, scores=scores) for number, other in enumerate(choices)]
    return RoutingTrace(model, None, "0f3a", ("first", "second"), found, tuple(layers))


def with_an_unused_layer() -> RoutingTrace:
    """Return the known trace with a last layer that no token reached."""
    trace = known_trace()
    empty = trace.layers[0].take(np.zeros(N_TOKENS, np.bool_))
    unused = replace(empty, path="model.layers.4.mlp", rows=np.zeros(0, np.int64))
    return replace(trace, layers=(*trace.layers, unused))


def with_zero_experts() -> RoutingTrace:
    """Return the known trace, where the last two of the four experts compute nothing."""
    trace = known_trace()
    layers = (replace(one, num_experts=2, num_zero_experts=2) for one in trace.layers)
    return replace(trace, layers=tuple(layers))


def with_unsure_tokens() -> RoutingTrace:
    """Return the known trace, whose first layer has equal scores for the tokens of one task."""
    trace = known_trace()
    scores = np.where(
        (trace.tokens.task == 1)[:, None], np.float32((0.4, 0.4, 0.1)), trace.layers[0].scores
    )
    first = replace(trace.layers[0], scores=scores.astype(np.float32))
    return replace(trace, layers=(first, *trace.layers[1:]))


def at_published_k(k: int) -> RoutingTrace:
    """Return the known trace at another published k."""
    trace = known_trace()
    return replace(trace, layers=tuple(replace(one, published_k=k) for one in trace.layers))


def other_trace(*, images: bool = False) -> RoutingTrace:
    """Return the same tokens in another checkpoint: the first layer chooses OTHER."""
    found = tokens(images=images)
    choices = (True, found.token_id == SECOND, found.task == 1)
    layers = tuple(layer(number, other) for number, other in enumerate(choices))
    return RoutingTrace("another/model", None, None, ("first", "second"), found, layers)
