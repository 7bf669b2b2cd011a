"""The seven published sizes of FLAME-MoE, from their configurations alone, in both layouts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoConfig

from moe_eval_plugin.models.inspection.report import inspect_config, inspect_model
from moe_eval_plugin.models.inspection.text import render
from moe_eval_plugin.testing import tiny_config

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig

VOCABULARY = 50304  # that of pythia-12b, filled up to a multiple of 128
HEADS = 16
# Layers, and the widths of a token, of the dense layer and of an expert; then the parameters that
# serve a token, and all of them, in millions, which the names of the models round.
SIZES = {
    "38M-100M": (9, 256, 1368, 176, 38.0, 100.7),
    "98M-349M": (9, 512, 2736, 352, 100.0, 350.9),
    "115M-459M": (12, 512, 2736, 352, 116.2, 461.2),
    "290M-1.3B": (9, 1024, 5472, 704, 296.5, 1300),
    "419M-2.2B": (15, 1024, 5472, 704, 425.9, 2182),
    "721M-3.8B": (12, 1536, 8208, 1056, 734.9, 3840),
    "1.7B-10.3B": (18, 2048, 10944, 1408, 1754, 10284),
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "deepseek": {"n_routed_experts": 64, "n_shared_experts": 2, "first_k_dense_replace": 1},
    "qwen2_moe": {"num_experts": 64, "mlp_only_layers": [0], "qkv_bias": True},
}


def config_of(name: str, layout: str) -> PretrainedConfig:
    layers, hidden, dense, expert, *_ = SIZES[name]
    tiny_config("deepseek")  # which registers it
    shared = {"shared_expert_intermediate_size": 2 * expert} if layout == "qwen2_moe" else {}
    return AutoConfig.for_model(
        layout,
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=dense,
        moe_intermediate_size=expert,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        num_experts_per_tok=6,
        norm_topk_prob=False,
        **LAYOUTS[layout],
        **shared,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SIZES)
def test_active_and_total_parameters_are_the_published_ones(name: str, layout: str) -> None:
    *_, active, total = SIZES[name]
    report = inspect_config(config_of(name, layout))
    costs = {cost.num_experts_per_tok: cost.active_parameters for cost in report.costs}
    # The layout qwen2_moe has gates and biases of zeros besides: at most 0.03% more.
    assert costs[6] == pytest.approx(active * 1e6, rel=1.5e-3)
    assert report.total_parameters == pytest.approx(total * 1e6, rel=1.5e-3)
    assert report.baseline_num_experts_per_tok == 6
    assert report.n_moe_layers == report.n_layers - 1


@pytest.mark.parametrize(("layout", "shared"), [("deepseek", 2), ("qwen2_moe", 1)])
def test_inspect_reads_a_folder_without_weights(tmp_path: Path, layout: str, shared: int) -> None:
    config_of("38M-100M", layout).save_pretrained(tmp_path)
    report = inspect_model(str(tmp_path))
    assert report.num_shared_experts == shared
    assert report.total_num_experts_per_tok == 6 + shared
    assert report.renormalisation == "never"
    assert [layer.is_moe for layer in report.layers] == [False] + [True] * 8
    text = render(report)
    assert re.search(r"^parameters +100\.6\d M", text, re.MULTILINE)
    assert re.search(rf"^ +6 +{6 + shared} +37\.9\d M", text, re.MULTILINE)
