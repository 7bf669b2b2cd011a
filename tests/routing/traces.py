"""Random traces of routers that are known, for the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moe_eval_plugin.routing.trace import LayerTrace, RoutingTrace, Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_EXPERTS, K = 8, 2


def tokens_of(n_tokens: int, seed: int = 0, **columns: NDArray[Any]) -> Tokens:
    """Tokens of 20 questions of two tasks, text and images, with some decoded."""
    generator = np.random.default_rng(seed)
    question = np.sort(generator.integers(0, 20, n_tokens))
    values: dict[str, NDArray[Any]] = {
        "token_id": generator.integers(0, 12, n_tokens),
        "task": question % 2,
        "modality": generator.integers(0, 2, n_tokens),
        "phase": generator.random(n_tokens) < 0.2,
        "question": question,
        "position": np.arange(n_tokens),
    }
    kinds = {
        "token_id": np.int32,
        "task": np.int16,
        "modality": np.int8,
        "phase": np.int8,
        "question": np.int32,
        "position": np.int32,
    }
    values |= columns
    return Tokens(**{name: np.asarray(values[name]).astype(kind) for name, kind in kinds.items()})


def layer_of(
    logits: NDArray[np.float64], k: int = K, path: str = "layers.0.mlp", **changes: Any
) -> LayerTrace:
    """The trace of a softmax router with these logits, ``(n_tokens, num_experts)``."""
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    width = min(k + 1, scores.shape[1])
    experts = np.argsort(-scores, axis=1, kind="stable")[:, :width]
    fields: dict[str, Any] = {
        "path": path,
        "num_experts": scores.shape[1],
        "num_zero_experts": 0,
        "published_k": k,
        "experts": experts.astype(np.int16),
        "scores": np.take_along_axis(scores, experts, axis=1).astype(np.float32),
        "entropy": -(scores * np.log(scores)).sum(axis=1).astype(np.float32),
    }
    return LayerTrace(**(fields | changes))


def random_logits(n_tokens: int, num_experts: int = NUM_EXPERTS, seed: int = 0) -> Any:
    """Logits of a router that prefers some experts, whatever the token."""
    generator = np.random.default_rng(seed)
    biases = generator.normal(size=num_experts) * 0.5
    return generator.normal(size=(n_tokens, num_experts)) + biases


def trace_of(n_tokens: int = 300, n_layers: int = 2, seed: int = 0, **changes: Any) -> RoutingTrace:
    """A trace of random routers: its layers see all tokens."""
    fields: dict[str, Any] = {
        "model": "tiny",
        "revision": None,
        "weights": "abc",
        "tasks": ("vqa", "text"),
        "tokens": tokens_of(n_tokens),
        "layers": tuple(
            layer_of(random_logits(n_tokens, seed=100 * seed + number), path=f"layers.{number}.mlp")
            for number in range(n_layers)
        ),
    }
    return RoutingTrace(**(fields | changes))
