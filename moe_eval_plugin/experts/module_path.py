"""Read the layer number and the modality from the path of a module."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moe_eval_plugin.experts.tokens import Modality

LAYER_NUMBER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)(?=\.|$)")
TEXT_BLOCK = "text_moe"
IMAGE_BLOCK = re.compile(r"vis(ion|ual)(_moe|_tower|_model)?")


def path_modality(path: str) -> Modality | None:
    """Return the modality whose tokens alone pass through a module; ``None`` for all tokens.

    ernie4_5_vl_moe has a ``text_moe`` and a ``vision_moe`` in each layer, each with a router and
    experts of its own; the image tower of some models has experts for patches.
    """
    parts = path.split(".")
    if any(IMAGE_BLOCK.fullmatch(part) for part in parts):
        return "image"
    return "text" if TEXT_BLOCK in parts else None


def layer_number(path: str) -> int | None:
    """Return the number of the decoder layer in a module's path; ``None`` outside of layers.

    ``model.language_model.layers.3.mlp.gate`` gives 3.
    """
    match = LAYER_NUMBER.search(path)
    return int(match[1]) if match else None
