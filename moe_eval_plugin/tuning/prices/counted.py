"""Prices that are counted: routed experts per token, and FLOPs of the language model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.tuning.prices.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost
    from moe_eval_plugin.tuning.cells import Cell
    from moe_eval_plugin.tuning.prices.lengths import PromptLengths


def expert_prices(
    cells: Sequence[Cell], ks: Sequence[int], baseline: int, lengths: PromptLengths
) -> Prices:
    """Return prices in routed experts: those of all tokens together, whatever experts cost.

    Where k differs by modality or phase, a cell weighs as much as it has tokens in the prompts
    and answers. Raises ``InvalidArgumentError`` where it has none.
    """
    weights = _weights(cells, lengths)
    common = math.gcd(*weights.values())
    by_cell = {(cell, k): k * (weights[cell] // common) for cell in cells for k in (*ks, baseline)}
    return Prices("experts", baseline, by_cell, step=float(common))


def flop_prices(
    layers: Sequence[int],
    cells: Sequence[Cell],
    ks: Sequence[int],
    baseline: int,
    lengths: PromptLengths,
    cost: LanguageModelCost,
) -> Prices:
    """Return prices in FLOPs of the language model, for prompts and answers of these lengths.

    ``layers`` are the decoder layers with experts, in the order of ``cost.routed_layers``. The
    image tower does not count. Raises what ``expert_prices`` raises, and ``DataError`` where the
    cost model has other layers.
    """
    if len(layers) != len(cost.routed_layers):
        message = (
            f"The cost model has {len(cost.routed_layers)} layers with experts, and the model "
            f"{len(layers)}: FLOPs cannot be priced by layer. Use --unit experts or --unit time."
        )
        raise DataError(message)
    weights = _weights(cells, lengths)
    by_cell = {}
    for cell in cells:
        alone = [int(layer == cell.layer) for layer in layers]
        # One expert of that layer for a token.
        flops = round(cost.decode_flops(alone, 1).routed) * weights[cell]
        by_cell.update({(cell, k): k * flops for k in (*ks, baseline)})
    common = math.gcd(*by_cell.values())
    steps = {key: flops // common for key, flops in by_cell.items()}
    return Prices("flops", baseline, steps, _fixed(lengths, cost) / common, step=float(common))


def _fixed(lengths: PromptLengths, cost: LanguageModelCost) -> float:
    """Return the FLOPs of all prompts and answers without routed experts."""
    total = 0.0
    for n_prompt, n_decoded in zip(lengths.text + lengths.image, lengths.decoded, strict=True):
        n = int(n_prompt)
        total += n * cost.prefill_flops(0, n).total
        total += sum(cost.decode_flops(0, n + i + 1).total for i in range(int(n_decoded)))
    return total


def _weights(cells: Sequence[Cell], lengths: PromptLengths) -> Mapping[Cell, int]:
    weights = {cell: lengths.of_cell(cell) for cell in cells}
    empty = next((cell for cell, n in weights.items() if n == 0), None)
    if empty is not None:
        message = _no_tokens(empty)
        raise InvalidArgumentError(message)
    return weights


def _no_tokens(cell: Cell) -> str:
    if cell.phase:
        return (
            "--by phase is not possible with these prompts: their answers have one token, and the "
            "first token of an answer is predicted in prefill. Ask a task with longer answers, or "
            "leave --by out."
        )
    return (
        f"--by modality is not possible with these prompts: they have no {cell.modality} tokens. "
        "Ask a task with images, or leave --by out."
    )
