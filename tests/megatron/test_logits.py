"""Converted checkpoints compute what Megatron-core computes, at each k and in both layouts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from safetensors import safe_open

from moe_eval_plugin.conversion.torch_dist.checkpoint import read_checkpoint
from tests.conversion.logits import differences
from tests.conversion.megatron_run import MegatronRun
from tests.megatron.oracle.shapes import Shape

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from tests.megatron.conftest import Oracle

TOLERANCE = 1e-5  # of float32
# 0.12 has the kinds of optimizer state that FLAME-MoE's release had; later releases have others.
OPTIMIZER_KINDS = {
    "0.12.3": ("fully_sharded_model_space", "dp_zero_gather_scatter"),
    "0.16.1": ("fully_reshardable",),
}
VERSIONS = tuple(OPTIMIZER_KINDS)
LAYOUTS = ("deepseek", "qwen2_moe")


def shapes(version: str) -> dict[str, Shape]:
    trained = {
        kind: Shape(dtype="bfloat16", processes=2, optimizer=kind)
        for kind in OPTIMIZER_KINDS[version]
    }
    return {
        "small": Shape(),
        "local": Shape(transformer_engine_names=False),
        "groups": Shape(groups=2),
        "dense": Shape(experts=0),
        **trained,
    }


@pytest.fixture(scope="session", params=VERSIONS)
def runs(request: pytest.FixtureRequest, oracle: Oracle) -> dict[str, MegatronRun]:
    found = oracle.runs(request.param, tuple(shapes(request.param).items()))
    return {name: MegatronRun(folder) for name, folder in found.items()}


def trained(runs: dict[str, MegatronRun]) -> dict[str, MegatronRun]:
    kinds = {kind for of_version in OPTIMIZER_KINDS.values() for kind in of_version}
    return {name: run for name, run in runs.items() if name in kinds}


def config_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "config.json").read_text("utf-8"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_are_equal_at_every_k(
    runs: dict[str, MegatronRun], layout: str, tmp_path: Path
) -> None:
    expected = runs["small"].logits()
    found = runs["small"].converted(tmp_path / "out", layout)

    assert list(expected) == [1, 2, 3, 4, 5, 6]
    assert max(differences(found, expected).values()) < TOLERANCE
    assert config_of(tmp_path / "out")["model_type"] == layout


def test_each_k_gives_logits_of_its_own(runs: dict[str, MegatronRun]) -> None:
    expected = runs["small"].logits()
    published = dict.fromkeys(expected, expected[6])
    changes = differences(expected, published)
    assert min(change for k, change in changes.items() if k < 6) > 1000 * TOLERANCE


def test_the_names_of_both_kinds_of_layers_are_read(
    runs: dict[str, MegatronRun], tmp_path: Path
) -> None:
    with_norm = "decoder.layers.1.pre_mlp_layernorm.weight"
    assert with_norm in read_checkpoint(runs["small"].iteration).tensors
    assert with_norm not in read_checkpoint(runs["local"].iteration).tensors
    found = runs["local"].converted(tmp_path / "out", "deepseek")
    assert max(differences(found, runs["local"].logits()).values()) < TOLERANCE


def test_queries_that_share_keys_and_values(runs: dict[str, MegatronRun], tmp_path: Path) -> None:
    found = runs["groups"].converted(tmp_path / "out", "deepseek")
    assert max(differences(found, runs["groups"].logits()).values()) < TOLERANCE
    assert config_of(tmp_path / "out")["num_key_value_heads"] == 2


def test_a_dense_baseline_becomes_llama(runs: dict[str, MegatronRun], tmp_path: Path) -> None:
    found = runs["dense"].converted(tmp_path / "out", "deepseek")
    assert differences(found, runs["dense"].logits())[0] < TOLERANCE
    assert config_of(tmp_path / "out")["model_type"] == "llama"


def test_experts_of_two_processes_with_the_state_of_the_optimizer(
    runs: dict[str, MegatronRun], tmp_path: Path
) -> None:
    for kind, run in trained(runs).items():
        checkpoint = read_checkpoint(run.iteration)
        states = {key for key in (*checkpoint.tensors, *checkpoint.objects) if "optimizer" in key}
        assert states, f"no state of the optimizer in {kind}"
        assert [*run.iteration.glob("__1_*.distcp")], "the second process wrote nothing"
        found = run.converted(tmp_path / kind, "deepseek", "float32")
        assert max(differences(found, run.logits()).values()) < TOLERANCE
        with safe_open(tmp_path / kind / "model.safetensors", "pt") as stored:
            assert not any("optimizer" in name for name in stored.keys())  # noqa: SIM118


def test_states_of_the_optimizer_end_like_weights(runs: dict[str, MegatronRun]) -> None:
    """What a search by the end of a name would find instead of the weights."""
    if (run := runs.get("fully_sharded_model_space")) is None:
        pytest.skip("this release of Megatron cannot write them")
    keys = read_checkpoint(run.iteration).tensors
    ending = "decoder.layers.1.mlp.experts.experts.linear_fc1.weight"
    found = {key.removesuffix(ending) for key in keys if key.endswith(ending)}
    of_experts = {
        f"chained_1.optimizer.state.{name}." for name in ("exp_avg", "exp_avg_sq", "fp32_param")
    }
    assert found == {"", *of_experts}


def test_a_model_in_bfloat16_is_as_near_as_bfloat16_allows(
    runs: dict[str, MegatronRun], tmp_path: Path
) -> None:
    run = next(iter(trained(runs).values()))
    exact, expected = run.logits(), run.logits("bfloat16")
    found = run.converted(tmp_path / "out", "deepseek")

    assert config_of(tmp_path / "out")["dtype"] == "bfloat16"
    for k, logits in found.items():
        of_type = usual_difference(expected[k], exact[k])
        assert usual_difference(logits, expected[k]) < 1.5 * of_type


def usual_difference(one: Tensor, other: Tensor) -> float:
    """Return the median over tokens: rounding lets a few of them choose another expert."""
    return float((one.float() - other.float()).abs().mean(-1).median())
