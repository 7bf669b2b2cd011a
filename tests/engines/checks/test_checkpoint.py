"""Checkpoints that do not fit: one error of ours, and no weight is taken for another."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import torch

from moe_eval_plugin.engines.checks.checkpoint import check_vllm_files, loading_errors
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import (
    BrokenCheckpointError,
    CheckpointMismatchError,
    DataError,
    InsufficientMemoryError,
    MissingDependencyError,
    UserError,
)
from tests.models.weights.checkpoints import (
    POINTER,
    change_json,
    demo_copy,
    demo_with_weights,
    sharded,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

GATE = "model.language_model.layers.2.mlp.gate.weight"


def load(folder: Path) -> HFEngine:
    return HFEngine(EngineOptions(str(folder), experts_k=4))


def test_unused_tables_are_accepted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = (
        "model.visual.rotary_pos_emb.inv_freq",
        "model.visual.embeddings.position_ids",
        "model.language_model.layers.0.self_attn.masked_bias",
        "model.language_model.layers.0.mlp.gate.e_score_correction_bias",
    )
    folder = demo_with_weights(tmp_path, {name: torch.zeros(4) for name in names})
    with caplog.at_level(logging.WARNING):
        load(folder).close()
    assert "stores 4 weights that Qwen3VLMoeForConditionalGeneration does not use" in caplog.text


@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        (GATE, None, f"1 weights are missing and were made up .first: {GATE}"),
        (GATE, torch.zeros(32, 95), f"1 weights have another shape .first: {GATE}"),
        ("model.extra.weight", torch.zeros(4), "1 weights are not used by the model"),
        ("model.extra.bias", torch.ones(4), "1 weights are not used by the model"),
    ],
)
def test_real_weights_must_fit(
    tmp_path: Path, name: str, weight: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(CheckpointMismatchError, match=message):
        load(demo_with_weights(tmp_path, {name: weight}))


def test_a_configuration_of_another_size_is_refused(tmp_path: Path) -> None:
    from moe_eval_plugin.models.checkpoint import load_config

    config = load_config("demo").to_dict()
    text = {**config["text_config"], "moe_intermediate_size": 48}
    change_json(demo_copy(tmp_path) / "config.json", text_config=text)
    with pytest.raises(CheckpointMismatchError, match="have another shape"):
        load(tmp_path)


@pytest.mark.parametrize("value", [None, "x"])
def test_sizes_of_another_model_are_not_assumed(tmp_path: Path, value: object) -> None:
    change_json(demo_copy(tmp_path) / "config.json", text_config=value)
    with pytest.raises(UserError, match=r"text_config=.* is not a JSON object"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tokenizer.json", POINTER, r"tokenizer\.json in .*git lfs pull"),
        ("tokenizer.json", "{}", r"processor of .* cannot be loaded with transformers \d"),
        ("tokenizer_config.json", "{", r"processor of .* cannot be loaded"),
        ("processor_config.json", "{", r"processor of .* cannot be loaded"),
        ("generation_config.json", "[]", r"cannot be loaded|generation_config"),
        ("model.safetensors", "", "header cannot be read"),
        ("model.safetensors", POINTER, "git lfs pull"),
    ],
)
def test_a_broken_file_is_one_message(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    write(demo_copy(tmp_path) / file, content)
    with pytest.raises(UserError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("gone", [("processor_config.json",), ("tokenizer.json",)])
def test_a_missing_file_is_one_message(tmp_path: Path, gone: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"processor of .* cannot be loaded"):
        load(demo_copy(tmp_path, *gone))


def test_a_made_up_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no vocabulary"):
        load(demo_copy(tmp_path, "tokenizer.json", "tokenizer_config.json"))


def test_a_quantised_checkpoint_is_refused_before_its_processor_is_read(tmp_path: Path) -> None:
    settings = {"quant_method": "gptq", "bits": "many"}
    change_json(demo_copy(tmp_path, "tokenizer.json") / "config.json", quantization_config=settings)
    with pytest.raises(UserError, match="is quantised with gptq"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("no\nfile"), UserError),
        (ImportError("No module named 'x'"), MissingDependencyError),
        (MemoryError(), InsufficientMemoryError),
        (torch.OutOfMemoryError("CUDA"), InsufficientMemoryError),
        (DataError("ours"), DataError),
    ],
)
def test_errors_of_loading_become_ours(error: Exception, expected: type[UserError]) -> None:
    with pytest.raises(expected) as caught, loading_errors("model", "some/model"):
        raise error
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)


def test_vllm_does_not_start_with_missing_weights(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    check_vllm_files(str(folder), None, None)
    next(folder.glob("model-*")).unlink()
    check_vllm_files(str(folder), None, "dummy")
    with pytest.raises(BrokenCheckpointError, match="1 of the 2 files"):
        check_vllm_files(str(folder), None, "auto")
