"""The report on a model as a user reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from transformers import AutoModelForCausalLM, Qwen3Config, SwitchTransformersConfig

from moe_eval_plugin.models.inspection.report import inspect_model
from moe_eval_plugin.models.inspection.text import bytes_text, count_text, flops_text, render
from moe_eval_plugin.testing import tiny_config
from tests.models.tiny_configs import SIZES, deepseek_v2, qwen3_moe, qwen3_vl_moe

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig


def text_of(config: PretrainedConfig, folder: Path) -> str:
    config.save_pretrained(folder)
    return render(inspect_model(str(folder)))


def block(text: str, title: str) -> list[list[str]]:
    (found,) = [part for part in text.split("\n\n") if part.startswith(title)]
    return [line.split() for line in found.splitlines()[1:]]


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (999_999, "999,999"),
        (1_000_000, "1.00 M"),
        (30_532_122_624, "30.53 B"),
        (1_026_408_207_872, "1.03 T"),
    ],
)
def test_parameters_are_written_by_size(n: int, text: str) -> None:
    assert count_text(n) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [(None, "not known"), (0, "0.00 FLOP"), (1500, "1.50 kFLOP"), (6 * 10**12, "6.00 TFLOP")],
)
def test_flops_are_written_by_size(n: int | None, text: str) -> None:
    assert flops_text(n) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [(None, "not known"), (512, "0.5 KiB"), (3 * 1024**2, "3.0 MiB"), (1024**3, "1.0 GiB")],
)
def test_bytes_are_written_by_size(n: int | None, text: str) -> None:
    assert bytes_text(n) == text


def test_experts_and_k_are_named_apart(tmp_path: Path) -> None:
    text = text_of(deepseek_v2(), tmp_path)
    assert "6 routed + 2 shared = 8" in text
    assert "2 of 3 (model.layers.1.mlp.experts, model.layers.2.mlp.experts)" in text
    assert "never: " in text
    assert "yes: experts_k=1 to experts_k=8 (routed experts)" in text


def test_an_image_tower_is_named_where_there_is_one(tmp_path: Path) -> None:
    with_images = text_of(qwen3_vl_moe(), tmp_path / "images")
    text_alone = text_of(qwen3_moe(), tmp_path / "text")
    assert "(rho, at the published k; without the image tower)" in " ".join(with_images.split())
    assert "(rho, at the published k)" in " ".join(text_alone.split())


def test_equal_layers_that_follow_each_other_share_a_row(tmp_path: Path) -> None:
    rows = block(text_of(deepseek_v2(num_hidden_layers=5), tmp_path), "Parameters of each layer")
    assert [row[:2] for row in rows[1:]] == [["0", "dense"], ["1-4", "MoE"]]
    assert rows[2][4:8] == ["8", "x", "2,304", "4,608"]


def test_each_k_has_its_row_and_the_baseline_is_marked(tmp_path: Path) -> None:
    text = text_of(qwen3_moe(), tmp_path)
    rows = block(text, "Parameters and FLOPs per token")
    assert [row[0] for row in rows[1:6]] == ["1", "2", "3", "4", "8"]
    assert [row[0] for row in rows if row[-1] == "published"] == ["4"]
    ceilings = block(text, "Speed-up at most, against k=4")
    assert [row[0] for row in ceilings[1:5]] == ["1", "2", "3", "4"]
    assert ceilings[4][1:5] == ["1.00×"] * 4


@pytest.mark.parametrize("make", [deepseek_v2, qwen3_vl_moe])
def test_no_line_is_wider_than_100_columns(make: type[PretrainedConfig], tmp_path: Path) -> None:
    config = make()
    config.dtype = "bfloat16"
    text = text_of(config, tmp_path / "m")
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 100


def test_dense_model_is_described_and_no_error(tmp_path: Path) -> None:
    text = text_of(Qwen3Config(**SIZES, num_hidden_layers=1), tmp_path)
    assert "dense model" in text
    assert "k routed" not in text


def test_router_that_cannot_change_k_is_named(tmp_path: Path) -> None:
    config = SwitchTransformersConfig(
        vocab_size=64, d_model=32, d_ff=48, d_kv=8, num_heads=4, num_experts=4
    )
    assert "k can be changed no: " in " ".join(text_of(config, tmp_path).split())


def test_what_is_not_known_is_said_with_its_reason(tmp_path: Path) -> None:
    text = text_of(qwen3_moe(hidden_act="no_such_activation"), tmp_path / "a")
    assert "parameters not known: transformers" in " ".join(text.split())
    text = text_of(tiny_config("jetmoe", kv_channels=8), tmp_path / "b")
    assert "JetMoeAttention" in text
    assert "Speed-up" not in text


def test_warnings_of_the_family_are_shown(tmp_path: Path) -> None:
    config = tiny_config("llama4_text", num_local_experts=8, interleave_moe_layer_step=1)
    assert "another k changes the output and not the cost" in text_of(config, tmp_path)


def test_size_of_the_weight_files(tmp_path: Path) -> None:
    config = qwen3_moe()
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    report = inspect_model(str(tmp_path))
    size = (tmp_path / "model.safetensors").stat().st_size
    assert f"{size / 1024:.1f} KiB (float32)" in render(report)
