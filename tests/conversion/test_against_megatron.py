"""Converted checkpoints compute what Megatron-core computed when it wrote them, at each k.

A live Megatron-core is compared in ``tests/megatron``; here its checkpoints come with its logits.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe
from moe_eval_plugin.conversion.options import ConversionOptions
from tests.conversion.logits import differences, logits_at
from tests.conversion.megatron_run import MegatronRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    Weights = dict[str, Tensor]
    Mistake = Callable[[Weights, dict[str, Any]], None]

TOLERANCE = 1e-5
LAYOUTS = ("deepseek", "qwen2_moe")
HEADS = 2
ROUTED = ".mlp.experts."


@pytest.fixture(scope="session")
def each_megatron_run(each_run: Path) -> MegatronRun:
    return MegatronRun(each_run)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_are_equal_at_every_k(
    each_megatron_run: MegatronRun, layout: str, tmp_path: Path
) -> None:
    expected = each_megatron_run.logits()
    found = each_megatron_run.converted(tmp_path / "out", layout)
    assert list(found) == [1, 2, 3, 4, 5, 6]
    assert max(differences(found, expected).values()) < TOLERANCE


def test_each_k_gives_logits_of_its_own(each_megatron_run: MegatronRun) -> None:
    expected = each_megatron_run.logits()
    changes = differences(expected, dict.fromkeys(expected, expected[6]))
    assert min(change for k, change in changes.items() if k < 6) > 1000 * TOLERANCE


def swap(weights: Weights, one: str, other: str) -> None:
    """Exchange the tensors whose names differ in this part only."""
    for name in [name for name in weights if one in name]:
        partner = name.replace(one, other)
        weights[name], weights[partner] = weights[partner], weights[name]


def gate_and_up_swapped(weights: Weights, _: dict[str, Any]) -> None:
    swap(weights, ".gate_proj.", ".up_proj.")


def queries_and_keys_swapped(weights: Weights, _: dict[str, Any]) -> None:
    swap(weights, ".q_proj.", ".k_proj.")


def two_experts_swapped(weights: Weights, _: dict[str, Any]) -> None:
    swap(weights, f"{ROUTED}0.", f"{ROUTED}1.")


def heads_left_interleaved(weights: Weights, _: dict[str, Any]) -> None:
    """Cut Megatron's rows in three, though they have query, key and value of each head in turn."""
    for name in [name for name in weights if ".q_proj.weight" in name]:
        names = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        by_head = [weights[one].chunk(HEADS) for one in names]
        rows = torch.cat([part for head in zip(*by_head, strict=True) for part in head])
        weights.update(zip(names, (part.clone() for part in rows.chunk(3)), strict=True))


def shared_experts_left_out(weights: Weights, _: dict[str, Any]) -> None:
    for name in [name for name in weights if ".shared_experts.down_proj." in name]:
        weights[name] = torch.zeros_like(weights[name])


def norms_left_out(weights: Weights, _: dict[str, Any]) -> None:
    for name in [name for name in weights if "norm" in name]:
        weights[name] = torch.ones_like(weights[name])


def norm_before_experts_left_out(weights: Weights, _: dict[str, Any]) -> None:
    name = "model.layers.1.post_attention_layernorm.weight"
    weights[name] = torch.ones_like(weights[name])


def first_dense_layer_moved(weights: Weights, _: dict[str, Any]) -> None:
    swap(weights, "model.layers.1.", "model.layers.2.")


def another_theta(_: Weights, config: dict[str, Any]) -> None:
    for holder in (config, config.get("rope_parameters") or {}):
        if "rope_theta" in holder:
            holder["rope_theta"] = 5e5


def another_epsilon(_: Weights, config: dict[str, Any]) -> None:
    config["rms_norm_eps"] = 1e-5


def weights_renormalised(_: Weights, config: dict[str, Any]) -> None:
    config["norm_topk_prob"] = True


def shared_experts_not_doubled(weights: Weights, _: dict[str, Any]) -> None:
    for name in [name for name in weights if ".shared_expert.down_proj." in name]:
        weights[name] = weights[name] / 2


MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "deepseek": (
        gate_and_up_swapped,
        queries_and_keys_swapped,
        heads_left_interleaved,
        shared_experts_left_out,
        two_experts_swapped,
        norms_left_out,
        norm_before_experts_left_out,
        first_dense_layer_moved,
        another_theta,
        another_epsilon,
    ),
    "qwen2_moe": (weights_renormalised, shared_experts_not_doubled),
}


def with_mistake(right: Path, wrong: Path, mistake: Mistake) -> Path:
    """Write a converted model with a mistake of conversion in it."""
    weights = load_file(right / "model.safetensors")
    config = json.loads((right / "config.json").read_text("utf-8"))
    before = json.dumps(config)
    kept = {name: values.clone() for name, values in weights.items()}
    mistake(weights, config)
    changed = [name for name, values in kept.items() if not torch.equal(values, weights[name])]
    assert changed or json.dumps(config) != before
    wrong.mkdir()
    save_file(weights, wrong / "model.safetensors", {"format": "pt"})
    (wrong / "config.json").write_text(json.dumps(config), "utf-8")
    return wrong


@pytest.mark.parametrize(
    ("layout", "mistake"),
    [(layout, mistake) for layout, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_a_mistake_is_seen(run: Path, layout: str, mistake: Mistake, tmp_path: Path) -> None:
    megatron_run, right = MegatronRun(run), tmp_path / "right"
    convert_flame_moe(run, right, ConversionOptions(layout=layout))
    wrong = with_mistake(right, tmp_path / "wrong", mistake)

    found = logits_at(wrong, megatron_run.token_ids, [6])

    assert differences(found, {6: megatron_run.logits()[6]})[6] > 100 * TOLERANCE
