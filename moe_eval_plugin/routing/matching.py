"""Match two traces: the same tokens, and the same layers, of two checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.tokens import PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.trace import LayerTrace, RoutingTrace, Tokens

# How messages name the columns that tell tokens apart.
COLUMNS = {
    "task": "task",
    "question": "question",
    "position": "position",
    "modality": "modality",
    "phase": "phase",
    "token_id": "token id",
}
HELP = (
    "Collect both traces with the same tasks, limit and tokenizer, from two checkpoints of one "
    "model."
)


@dataclass(frozen=True, eq=False)
class Match:
    """Which rows and layers of another trace belong to those of a trace."""

    rows: NDArray[np.int64]
    """Row of each token in the other trace, ``(n_tokens,)``; -1 where it has none."""
    layers: Mapping[str, LayerTrace]
    """The other trace's layers, by their paths."""
    n_other: int
    """Number of tokens of the other trace."""

    def rows_of(self, rows: NDArray[np.int64], other: LayerTrace) -> NDArray[np.int64]:
        """Return the row of ``other`` for some rows of the first trace; -1 where it has none."""
        import numpy as np

        found = self.rows[rows]
        if other.rows is None:
            return found
        # One more entry, for the row -1.
        of_layer = np.full(self.n_other + 1, -1)
        of_layer[other.rows] = np.arange(other.n_tokens)
        return of_layer[found]


def match(trace: RoutingTrace, other: RoutingTrace) -> Match:
    """Return how two traces belong together.

    The tokens must be the same in the same order. Where they are not, those of the prompts are
    compared alone: two models decode different answers. Raises ``DataError`` if these differ too,
    or no layer is common, or a layer has another number of experts.
    """
    import numpy as np

    if trace.tasks != other.tasks:
        _fail(f"one has the tasks {', '.join(trace.tasks)}, the other {', '.join(other.tasks)}")
    layers = _common_layers(trace, other)
    if _difference(trace.tokens, other.tokens) is None:
        return Match(np.arange(trace.n_tokens), layers, other.n_tokens)
    is_prompt, is_other_prompt = (one.tokens.where(phase=PHASES[0]) for one in (trace, other))
    difference = _difference(trace.tokens.take(is_prompt), other.tokens.take(is_other_prompt))
    if difference is not None:
        _fail(difference)
    rows = np.full(trace.n_tokens, -1)
    rows[is_prompt] = np.flatnonzero(is_other_prompt)
    return Match(rows, layers, other.n_tokens)


def _common_layers(trace: RoutingTrace, other: RoutingTrace) -> dict[str, LayerTrace]:
    known = {layer.path: layer for layer in other.layers}
    layers = {layer.path: known[layer.path] for layer in trace.layers if layer.path in known}
    if not layers:
        paths = [one.layers[0].path if one.layers else "none" for one in (trace, other)]
        _fail(f"no layer has the same path in both (the first ones: {paths[0]} and {paths[1]})")
    for layer in trace.layers:
        found = layers.get(layer.path)
        if found is not None and found.num_choices != layer.num_choices:
            _fail(
                f"{layer.path} has {layer.num_choices} experts in one and {found.num_choices} in "
                "the other"
            )
    return layers


def _difference(tokens: Tokens, other: Tokens) -> str | None:
    """Return where the tokens of two traces differ first; ``None`` if they are the same."""
    import numpy as np

    n = min(len(tokens), len(other))
    pairs = {name: (getattr(tokens, name)[:n], getattr(other, name)[:n]) for name in COLUMNS}
    differs = np.zeros(n, dtype=np.bool_)
    for first, second in pairs.values():
        differs |= first != second
    if differs.any():
        row = int(differs.argmax())
        texts = (
            f"{COLUMNS[name]} {first[row]} and {second[row]}"
            for name, (first, second) in pairs.items()
            if first[row] != second[row]
        )
        return f"token {row + 1} is not the same: {', '.join(texts)}"
    if len(tokens) != len(other):
        return f"one has {len(tokens)} tokens, the other {len(other)}"
    return None


def _fail(reason: str) -> NoReturn:
    message = f"These traces cannot be compared: {reason}. {HELP}"
    raise DataError(message)
