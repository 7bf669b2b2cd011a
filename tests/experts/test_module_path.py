from __future__ import annotations

import pytest

from moe_eval_plugin.experts.module_path import layer_number, path_modality


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("model.language_model.layers.3.mlp.gate", 3),
        ("transformer.blocks.11.ffn", 11),
        ("encoder.block.1.layer.2.mlp", 1),
        ("model.layers.7", 7),
        ("model.layers.2.mlp.experts.5.up_proj", 2),
        ("experts.5", None),
        ("model.layers", None),
        ("", None),
    ],
)
def test_the_layer_is_read_from_the_path(path: str, number: int | None) -> None:
    assert layer_number(path) == number


@pytest.mark.parametrize(
    ("path", "modality"),
    [
        ("model.language_model.layers.1.mlp.text_moe.gate", "text"),
        ("model.language_model.layers.1.mlp.vision_moe.experts", "image"),
        ("model.language_model.layers.1.mlp.vision_moe", "image"),
        ("model.vision_tower.blocks.1.mlp.gate", "image"),
        ("visual.blocks.1.mlp", "image"),
        ("model.language_model.layers.3.mlp.gate", None),
        ("model.supervision.layers.3.mlp", None),
        ("", None),
    ],
)
def test_the_modality_is_read_from_the_path(path: str, modality: str | None) -> None:
    assert path_modality(path) == modality
