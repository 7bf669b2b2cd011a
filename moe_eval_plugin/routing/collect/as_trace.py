"""Turn what was recorded of a model into a routing trace, in an order that no batch decides."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.routing.trace import LayerTrace, RoutingTrace, Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from moe_eval_plugin.override.recording.recorded import RecordedChoices


def as_trace(
    choices: RecordedChoices,
    tasks: Sequence[str],
    model: str,
    revision: str | None,
    weights: str | None,
) -> RoutingTrace:
    """Return the trace of a model, text by text and in each text from the first token on.

    Two models with the same tokenizer, asked the same questions, have the same tokens in the same
    order, whatever the batches were. Raises ``MeasurementError`` where no layer was recorded.
    """
    if not choices.layers:
        message = (
            f"No choice of experts of {model} was recorded: none of its layers calls experts with "
            "a row for each token. Such layers cannot be studied."
        )
        raise MeasurementError(message)
    recorded = choices.tokens
    order = np.lexsort((recorded.position, recorded.phase, recorded.sequence))
    tokens = Tokens(**{field.name: getattr(recorded, field.name) for field in fields(Tokens)})
    new_row = np.empty_like(order)
    new_row[order] = np.arange(len(order))
    layers = (LayerTrace(**vars(layer)) for layer in choices.layers)
    return RoutingTrace(
        model=model,
        revision=revision,
        weights=weights,
        tasks=tuple(tasks),
        tokens=tokens.take(order),
        layers=tuple(_sorted(layer, order, new_row) for layer in layers),
    )


def _sorted(layer: LayerTrace, order: NDArray[Any], new_row: NDArray[Any]) -> LayerTrace:
    """Return a layer with its tokens in their new order."""
    if layer.rows is None:
        return layer.take(order)
    rows = new_row[layer.rows]
    own_order = rows.argsort()
    return layer.take(own_order, rows=rows[own_order])
