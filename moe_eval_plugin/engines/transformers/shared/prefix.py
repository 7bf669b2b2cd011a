"""Compute the prefixes of a batch once, and continue from them with all of its prompts.

transformers' ``generate`` does both. The positions of all tokens are those of a batch that shares
nothing: a model computes them for the first prompt of each group, and the text after the prefix
counts on from there, as text does in every model.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from moe_eval_plugin.models.releases.names import CACHE, PER_TOKEN, forward_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from moe_eval_plugin.engines.transformers.shared.layout import Layout

ONE_TOKEN = {"max_new_tokens": 1, "min_new_tokens": None, "do_sample": False}


@dataclass(frozen=True)
class Prefixes:
    """Computed prefixes, from which all prompts of a batch continue."""

    cache: Any
    """Keys and values of the prefixes, one row for each group."""
    positions: Tensor
    """Positions of their tokens (..., G, P)."""
    next_positions: Tensor
    """Position of the first token after each prefix (..., G, 1)."""

    @classmethod
    def compute(cls, model: Any, firsts: Mapping[str, Any], layout: Layout) -> Self:  # noqa: ANN401
        """Run a model on the prefixes.

        ``firsts`` are the inputs of the first prompt of each group, on the model's device.
        """
        device = firsts["input_ids"].device
        positions = own_positions(model, firsts)
        columns = layout.prefix_columns.to(device)
        own = _gathered(positions, columns)
        inputs = {**_prefix_inputs(firsts, columns, layout), "position_ids": own}
        computed = model.generate(**inputs, **ONE_TOKEN, return_dict_in_generate=True)
        named = (getattr(computed, name, None) for name in CACHE)
        cache = next(found for found in named if found is not None)
        return cls(cache, own, _gathered(positions, layout.next_columns.to(device)[:, None]))

    def continued(self, model: Any, layout: Layout) -> dict[str, Any]:  # noqa: ANN401
        """Return the inputs of ``generate`` for the prompts of a layout, or of a part of it."""
        device = self.positions.device
        rows, mask = layout.rows.to(device), layout.attention_mask.to(device)
        counted = (mask[:, layout.n_prefix :].cumsum(-1) - 1).clamp_min(0)
        following = self.next_positions[..., rows, :] + counted
        return {
            "input_ids": layout.input_ids.to(device),
            "attention_mask": mask,
            "position_ids": torch.cat([self.positions[..., rows, :], following], dim=-1),
            cache_argument(model): _rows_of(self.cache, rows),
        }


def cache_argument(model: Any) -> str:  # noqa: ANN401
    """Return the name under which a model takes its cache."""
    arguments = set(forward_arguments(type(model)))
    return next(name for name in CACHE if name in arguments)


def has_plain_cache(model: Any) -> bool:  # noqa: ANN401
    """Whether each layer of a model keeps the keys and values of all tokens, and nothing else."""
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def own_positions(model: Any, inputs: Mapping[str, Any]) -> Tensor:  # noqa: ANN401
    """Return the positions of all tokens as ``generate`` computes them (..., rows, T)."""
    others = {name: value for name, value in inputs.items() if name != "input_ids"}
    positions: Tensor = model._prepare_position_ids_for_generation(inputs["input_ids"], others)  # noqa: SLF001  (the only way to a model's own positions)
    return positions


def _prefix_inputs(firsts: Mapping[str, Any], columns: Tensor, layout: Layout) -> dict[str, Any]:
    """Return the inputs of the prefixes: those with images are as they were."""
    mask = layout.prefix_mask.to(columns.device)
    inputs = {
        name: value.gather(1, columns) * mask if name in PER_TOKEN else value
        for name, value in firsts.items()
    }
    # A pad must not be the token that begins a prompt, which may be that of an image.
    return {**inputs, "input_ids": layout.prefix_ids.to(columns.device), "attention_mask": mask}


def _gathered(positions: Tensor, columns: Tensor) -> Tensor:
    """Return the positions at some columns of each row (..., G, columns)."""
    return positions.gather(-1, columns.expand(*positions.shape[:-1], -1))


def _rows_of(cache: Any, rows: Tensor) -> Any:  # noqa: ANN401
    """Return a cache of some of the rows; the cache itself stays as it is."""
    chosen = copy(cache)
    chosen.layers = [copy(layer) for layer in cache.layers]
    chosen.batch_select_indices(rows)
    return chosen
