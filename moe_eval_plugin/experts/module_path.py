"""Read the layer number and the modality from the path of a module."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moe_eval_plugin.experts.tokens import Modality, ObservedModality

# ernie4_5_vl_moe has two routers in each layer; the name of the block tells whose tokens it takes.
MODALITY_BLOCKS: dict[str, Modality] = {"text_moe": "text", "vision_moe": "image"}
LAYER_NUMBER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)(?=\.|$)")


def layer_modality(path: str) -> ObservedModality | None:
    """Tell from a path whether a layer has experts for one modality alone.

    ernie4_5_vl_moe has a ``text_moe`` and a ``vision_moe`` in each layer, and the image tower of
    some models has experts for patches.
    """
    if re.search(r"(^|\.)vis(ion|ual)(_moe|_tower|_model)?\.", path):
        return "image"
    return "text" if ".text_moe." in path else None


def layer_number(path: str) -> int | None:
    """Read the number of the decoder layer from a module's path; ``None`` outside of layers.

    ``model.language_model.layers.3.mlp.gate`` gives 3.
    """
    match = LAYER_NUMBER.search(path)
    return int(match[1]) if match else None


def router_modality(path: str) -> Modality | None:
    """Return the modality that a router serves alone; ``None`` for a router of all tokens."""
    return next((MODALITY_BLOCKS[n] for n in path.split(".") if n in MODALITY_BLOCKS), None)
