"""Which unused weights of a checkpoint make no difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from moe_eval_plugin.models.weights.unused import is_harmless, listed_as_unused, stored_weights
from moe_eval_plugin.testing import tiny_moe

if TYPE_CHECKING:
    from pathlib import Path

BIAS = "model.layers.0.mlp.gate.e_score_correction_bias"


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", True),
        ("model.visual.rotary_pos_emb.inv_freq", True),
        ("model.embeddings.position_ids", True),
        ("model.layers.0.attn.masked_bias", True),
        ("model.layers.0.mlp.shared_expert.up_proj.weight", False),
        ("model.layers.3.mlp.gate.weight", False),
        ("model.mtp.layers.0.mlp.gate.weight", False),
        ("model.layers.0.mlp.gate.bias", False),
    ],
)
def test_tables_are_harmless_and_weights_are_not(name: str, harmless: bool) -> None:
    assert is_harmless(name, tiny_moe(), {}) == harmless


def test_layers_that_the_configuration_counts_as_extra_are_harmless() -> None:
    model = tiny_moe()
    n_layers = model.config.num_hidden_layers
    model.config.num_nextn_predict_layers = 1
    found = [
        is_harmless(f"model.layers.{n}.mlp.gate.weight", model, {})
        for n in (n_layers - 1, n_layers, n_layers + 1)
    ]
    assert found == [False, True, False]


@pytest.mark.parametrize(("value", "harmless"), [(0.0, True), (0.1, False)])
def test_a_bias_is_harmless_if_it_is_zero(tmp_path: Path, value: float, harmless: bool) -> None:
    save_file({BIAS: torch.full((4,), value)}, tmp_path / "model.safetensors")
    assert is_harmless(BIAS, tiny_moe(), stored_weights(str(tmp_path))) == harmless


def test_what_the_class_lists_as_unused_is_listed() -> None:
    model = tiny_moe()
    model._keys_to_ignore_on_load_unexpected = [r"^mtp\.", r"mlp\.gate"]
    stored = {"mtp.norm.weight", "model.layers.0.mlp.gate.weight", "model.norm.weight"}
    assert listed_as_unused(model, stored) == ["mtp.norm.weight"]
    model._keys_to_ignore_on_load_unexpected = None
    assert listed_as_unused(model, stored) == []
