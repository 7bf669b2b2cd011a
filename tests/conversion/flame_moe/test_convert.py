"""Conversions have the weights that a plain reading gives, and a configuration that fits them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from moe_eval_plugin.conversion.flame_moe import convert as module
from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe
from moe_eval_plugin.conversion.options import ConversionOptions
from moe_eval_plugin.conversion.output.shards import plan_shards
from moe_eval_plugin.conversion.torch_dist.checkpoint import read_checkpoint
from moe_eval_plugin.errors import InvalidArgumentError, UnsupportedCheckpointError
from moe_eval_plugin.models.weights.completeness import check_files
from tests.conversion.checkpoints import (
    ARGUMENTS,
    OF_ROUTERS,
    iteration_of,
    layer,
    model,
    moe_layer,
    save,
    stacked,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

LAYER = "decoder.layers.1."
MLP = "model.layers.1.mlp."


def converted(run: Path, folder: Path, **options: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return weights and configuration of a conversion."""
    output = folder / "model"
    convert_flame_moe(run, output, ConversionOptions(**options))
    config: dict[str, Any] = json.loads((output / "config.json").read_text())
    return load_file(output / "model.safetensors"), config


def plain(run: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint as they are stored."""
    checkpoint = read_checkpoint(iteration_of(run))
    return {key: checkpoint.read(key) for key in checkpoint.tensors}


def of_heads(stored: Tensor, part: int, heads: int) -> Tensor:
    """Return the rows of the queries (0), keys (1) or values (2), where heads are not grouped."""
    width = stored.shape[0] // heads // 3
    rows = [(3 * head + part) * width + row for head in range(heads) for row in range(width)]
    return stored[rows]


def test_deepseek_has_the_weights_that_megatron_stored(each_run: Path, tmp_path: Path) -> None:
    found, _ = converted(each_run, tmp_path)
    stored = plain(each_run)
    qkv = stored[f"{LAYER}self_attention.linear_qkv.weight"]
    fc1 = stored[f"{LAYER}mlp.experts.experts.linear_fc1.weight"]
    shared = stored[f"{LAYER}mlp.shared_experts.linear_fc1.weight"]
    expected = {
        "model.embed_tokens.weight": stored["embedding.word_embeddings.weight"],
        "model.norm.weight": stored["decoder.final_layernorm.weight"],
        "lm_head.weight": stored["output_layer.weight"],
        **{
            f"model.layers.1.self_attn.{name}_proj.weight": of_heads(qkv, part, 2)
            for part, name in enumerate("qkv")
        },
        "model.layers.1.self_attn.o_proj.weight": stored[
            f"{LAYER}self_attention.linear_proj.weight"
        ],
        "model.layers.1.input_layernorm.weight": stored[
            f"{LAYER}self_attention.linear_qkv.layer_norm_weight"
        ],
        "model.layers.1.post_attention_layernorm.weight": stored[
            f"{LAYER}pre_mlp_layernorm.weight"
        ],
        "model.layers.0.post_attention_layernorm.weight": stored[
            "decoder.layers.0.mlp.linear_fc1.layer_norm_weight"
        ],
        "model.layers.0.mlp.up_proj.weight": stored["decoder.layers.0.mlp.linear_fc1.weight"][48:],
        f"{MLP}gate.weight": stored[f"{LAYER}mlp.router.weight"],
        f"{MLP}experts.5.gate_proj.weight": fc1[5, :16],
        f"{MLP}experts.5.up_proj.weight": fc1[5, 16:],
        f"{MLP}experts.5.down_proj.weight": stored[f"{LAYER}mlp.experts.experts.linear_fc2.weight"][
            5
        ],
        f"{MLP}shared_experts.gate_proj.weight": shared[:32],
        f"{MLP}shared_experts.up_proj.weight": shared[32:],
        f"{MLP}shared_experts.down_proj.weight": stored[
            f"{LAYER}mlp.shared_experts.linear_fc2.weight"
        ],
    }
    for name, values in expected.items():
        assert torch.equal(found[name], values), name
    assert sum(one.numel() for one in found.values()) == sum(one.numel() for one in stored.values())


def test_qwen2_moe_differs_by_constants_alone(run: Path, tmp_path: Path) -> None:
    deepseek, _ = converted(run, tmp_path / "deepseek")
    found, config = converted(run, tmp_path / "qwen", layout="qwen2_moe")
    for name, values in deepseek.items():
        other = found.pop(name.replace("shared_experts", "shared_expert"))
        factor = 2 if "shared_experts.down" in name else 1
        assert torch.equal(other, factor * values), name
    assert {name.rsplit(".", 2)[-2] for name in found} == {
        *("q_proj", "k_proj", "v_proj", "shared_expert_gate")
    }
    assert not any(one.any() for one in found.values())
    assert config["model_type"] == "qwen2_moe"
    assert (config["norm_topk_prob"], config["mlp_only_layers"]) == (False, [0])
    assert (config["num_experts"], config["shared_expert_intermediate_size"]) == (8, 32)


def test_the_configuration_shows_routed_and_shared_experts(run: Path, tmp_path: Path) -> None:
    _, config = converted(run, tmp_path)
    expected = {
        "architectures": ["DeepseekForCausalLM"],
        "model_type": "deepseek",
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "moe_intermediate_size": 16,
        "intermediate_size": 48,
        "first_k_dense_replace": 1,
        "norm_topk_prob": False,
        "moe_router_dtype": "float32",
        "num_key_value_heads": 2,
        "vocab_size": 96,
        "rms_norm_eps": 1e-6,
        "eos_token_id": 0,
        "dtype": "float32",
    }
    assert {name: config[name] for name in expected} == expected


MOE_ARGUMENTS: Mapping[str, Any] = {**ARGUMENTS, **OF_ROUTERS}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a small model with states of the optimizer, which end in the same keys."""
    weights = model(layer(), moe_layer(), moe_layer())
    states = {
        f"chained_{n}.optimizer.state.{state}.{key}": torch.zeros(8, 2, 1)
        for n in range(2)
        for state in ("exp_avg", "exp_avg_sq", "fp32_param")
        for key in weights
    }
    return save(tmp_path_factory.mktemp("run"), {**states, **weights}, MOE_ARGUMENTS)


def test_states_of_the_optimizer_are_left_out(small_run: Path, tmp_path: Path) -> None:
    found, config = converted(small_run, tmp_path)
    stored = plain(small_run)
    kept = {key: one for key, one in stored.items() if "optimizer" not in key}
    assert len(kept) < len(stored) / 6
    assert sum(one.numel() for one in found.values()) == sum(one.numel() for one in kept.values())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500000


def test_query_groups_count_only_if_the_attention_is_grouped(tmp_path: Path) -> None:
    # 4 heads in 2 groups: in each, two queries, then a key and a value, of 8 rows.
    weights = model(layer(kv_rows=64))
    grouped = {**ARGUMENTS, "group_query_attention": True, "num_query_groups": 2}
    found, config = converted(save(tmp_path / "run", weights, grouped), tmp_path)
    stored = weights["decoder.layers.0.self_attention.linear_qkv.weight"].split(8)
    expected = {"q": (0, 1, 4, 5), "k": (2, 6), "v": (3, 7)}
    for name, rows in expected.items():
        values = torch.cat([stored[row] for row in rows])
        assert torch.equal(found[f"model.layers.0.self_attn.{name}_proj.weight"], values), name
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (4, 2)


def test_a_dense_model_with_its_layers_in_one_tensor_becomes_a_llama(tmp_path: Path) -> None:
    layers = [layer(), layer()]
    run = save(tmp_path / "run", stacked(*layers), ARGUMENTS)
    found, config = converted(run, tmp_path)
    assert (config["model_type"], config["num_hidden_layers"]) == ("llama", 2)
    assert "num_experts_per_tok" not in config
    for n, one in enumerate(layers):
        assert torch.equal(
            found[f"model.layers.{n}.mlp.up_proj.weight"], one["mlp.linear_fc1.weight"][48:]
        )
        qkv = one["self_attention.linear_qkv.weight"]
        assert torch.equal(found[f"model.layers.{n}.self_attn.k_proj.weight"], of_heads(qkv, 1, 4))


def test_experts_of_layers_in_one_tensor_are_told_apart(tmp_path: Path) -> None:
    layers = [moe_layer(), moe_layer()]
    run = save(tmp_path / "run", stacked(*layers), {**MOE_ARGUMENTS, "moe_layer_freq": 1})
    found, config = converted(run, tmp_path)
    assert config["first_k_dense_replace"] == 0
    for n, one in enumerate(layers):
        fc2 = one["mlp.experts.experts.linear_fc2.weight"]
        assert torch.equal(found[f"model.layers.{n}.mlp.experts.3.down_proj.weight"], fc2[3])


def test_norms_of_local_layers_are_found(tmp_path: Path) -> None:
    weights = model(layer(), moe_layer())
    norm = weights.pop(f"{LAYER}pre_mlp_layernorm.weight")
    weights[f"{LAYER}mlp.linear_fc1.layer_norm_weight"] = norm
    found, _ = converted(save(tmp_path / "run", weights, MOE_ARGUMENTS), tmp_path)
    assert torch.equal(found["model.layers.1.post_attention_layernorm.weight"], norm)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_written_in_the_requested_type(run: Path, tmp_path: Path, dtype: str) -> None:
    found, config = converted(run, tmp_path, dtype=dtype)
    kind = getattr(torch, dtype)
    assert ({one.dtype for one in found.values()}, config["dtype"]) == ({kind}, dtype)
    stored = plain(run)["output_layer.weight"]
    assert_close(found["lm_head.weight"], stored.to(kind), rtol=0, atol=0)


def test_values_that_a_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    weights = model(layer())
    weights["output_layer.weight"][0, 0] = 1e6
    run = save(tmp_path / "run", weights, ARGUMENTS)
    with pytest.raises(
        UnsupportedCheckpointError, match=r"lm_head\.weight has values that float16"
    ):
        converted(run, tmp_path, dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_large_models_are_divided_into_files(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = converted(small_run, tmp_path / "whole")
    monkeypatch.setattr(module, "plan_shards", lambda entries: plan_shards(entries, 20_000))
    output = tmp_path / "model"
    summary = convert_flame_moe(small_run, output, ConversionOptions())
    check_files(str(output))
    files = sorted(output.glob("*.safetensors"))
    assert len(files) == 8
    parts = [load_file(path) for path in files]
    joined = {name: one for part in parts for name, one in part.items()}
    assert joined.keys() == whole.keys()
    assert all(torch.equal(joined[name], whole[name]) for name in whole)
    index = json.loads((output / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {
        name: path.name for path, part in zip(files, parts, strict=True) for name in part
    }
    assert set(summary.files) == {path.name for path in output.iterdir()}


def test_the_manifest_has_checksums_of_what_was_read_and_written(
    each_run: Path, tmp_path: Path
) -> None:
    converted(each_run, tmp_path)
    manifest = json.loads((tmp_path / "model" / "conversion.json").read_text())
    for folder, known in (
        (iteration_of(each_run), manifest["source"]),
        (tmp_path / "model", manifest["files"]),
    ):
        for name, facts in known.items():
            data = (folder / name).read_bytes()
            assert facts["sha256"] == hashlib.sha256(data).hexdigest(), name
    assert sorted(manifest["source"]) == [
        *(".metadata", "__0_0.distcp", "__0_1.distcp", "common.pt", "metadata.json")
    ]
    written = {path.name for path in (tmp_path / "model").iterdir()}
    assert {*manifest["files"], "conversion.json"} == written
    assert (manifest["iteration"], manifest["layout"]) == (100, "deepseek")
    assert (manifest["num_experts_per_tok"], manifest["num_shared_experts"]) == (6, 2)
    assert manifest["arguments"]["moe_router_topk"] == 6


def test_the_summary_counts_parameters(run: Path, tmp_path: Path) -> None:
    summary = convert_flame_moe(run, tmp_path / "model", ConversionOptions())
    n_all = sum(one.numel() for one in plain(run).values())
    # Two layers in which 2 of 8 experts are not used, of three matrices of 16 x 32.
    assert (summary.n_parameters, summary.n_active) == (n_all, n_all - 2 * 2 * 3 * 16 * 32)


@pytest.mark.parametrize("content", ["file", "folder"])
def test_an_output_that_exists_is_kept(run: Path, tmp_path: Path, content: str) -> None:
    output = tmp_path / "model"
    if content == "folder":
        output.mkdir()
    kept = output / "thesis.tex" if content == "folder" else output
    kept.write_text("x")
    with pytest.raises(InvalidArgumentError, match="exists"):
        convert_flame_moe(run, output, ConversionOptions())
    assert kept.read_text() == "x"


def test_a_disk_that_is_too_small_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_disk_bytes", lambda _: 1000)
    with pytest.raises(InvalidArgumentError, match="are free on its disk"):
        convert_flame_moe(run, tmp_path / "model", ConversionOptions())
    assert not [*tmp_path.iterdir()]


def test_a_factor_is_not_lost_in_a_small_type(tmp_path: Path) -> None:
    weights = {name: one.half() for name, one in model(moe_layer()).items()}
    key = "decoder.layers.0.mlp.shared_experts.linear_fc2.weight"
    weights[key][0, 0] = 40_000
    run = save(tmp_path / "run", weights, MOE_ARGUMENTS)
    with pytest.raises(UnsupportedCheckpointError, match=r"shared_expert\.down_proj"):
        converted(run, tmp_path, layout="qwen2_moe")
    found, _ = converted(run, tmp_path, layout="qwen2_moe", dtype="float32")
    assert found["model.layers.0.mlp.shared_expert.down_proj.weight"][0, 0] == 80_000
