"""What an answer depends on: each option, each file of the checkpoint, each part of a question."""

from __future__ import annotations

import os
import shutil
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from moe_eval_plugin.engines.answer_digest import (
    NOT_OPTIONS,
    answer_settings,
    checkpoint_identity,
    question_digest,
    settings_of_arguments,
)
from moe_eval_plugin.engines.generation import GenerationSettings
from moe_eval_plugin.engines.request import Job
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.engines.vllm.options import VLLMOptions
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.files import SMALL_FILE_BYTES, short_digest
from moe_eval_plugin.hosts.run_options import RunOptions
from moe_eval_plugin.models.demo import MODEL_PATH

if TYPE_CHECKING:
    from pathlib import Path

PROVENANCE = {"experts_k": "8", "hardware": {"kind": "cpu", "name": "a"}, "versions": {"torch": 1}}


def settings_digest(
    options: Any = None, run: RunOptions | None = None, **provenance: object
) -> str:
    chosen = options or EngineOptions("demo")
    return short_digest(answer_settings(chosen, run or RunOptions(), {**PROVENANCE, **provenance}))


@pytest.mark.parametrize("options", [EngineOptions("demo"), VLLMOptions("demo"), RunOptions()])
def test_each_option_that_may_change_an_answer_counts(options: Any) -> None:
    def digest(one: Any) -> str:
        return settings_digest(run=one) if isinstance(one, RunOptions) else settings_digest(one)

    before = digest(options)
    for field in fields(options):
        changed = replace(options)
        object.__setattr__(changed, field.name, {"another": "value"})
        if field.name not in NOT_OPTIONS:
            assert digest(changed) != before, field.name


@pytest.mark.parametrize(
    "change",
    [
        {"experts_k": "0-1:8/2-3:4"},
        {"experts_policy": "top_p:0.5"},
        {"renorm": "unit"},
        {"dtype": "float16"},
        {"kernels": ["another"]},
        {"versions": {"torch": 2}},
        {"hardware": {"kind": "cuda", "name": "b"}},
    ],
)
def test_each_fact_of_the_loaded_model_counts(change: dict[str, Any]) -> None:
    assert settings_digest(**change) != settings_digest()
    assert settings_digest(n_ranks=2, energy=None) == settings_digest()


def test_what_a_user_sets_for_vllm_counts_and_what_it_draws_at_each_start_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both hosts call the function with their own options; test_process runs a real vLLM."""
    given = {"pretrained": "demo", "dtype": "float32"}

    def digests() -> tuple[str, str]:
        of_lm_eval = short_digest(settings_of_arguments(given, PROVENANCE))
        return settings_digest(VLLMOptions("demo")), of_lm_eval

    before = digests()
    monkeypatch.setenv("VLLM_DIST_IDENT", "40513")
    monkeypatch.setenv("VLLM_OBJECT_STORAGE_SHM_BUFFER_NAME", "vllm_mm_4f")
    assert digests() == before
    monkeypatch.setenv("VLLM_USE_FLASHINFER_SAMPLER", "1")
    for now, then in zip(digests(), before, strict=True):
        assert now != then


def test_of_an_option_that_names_a_file_or_a_folder_the_content_counts(tmp_path: Path) -> None:
    template = tmp_path / "folder" / "template.jinja"
    template.parent.mkdir()
    found = []
    for named in (template, template.parent):
        for text in ("a", "bb"):
            template.write_text(text)
            found.append(settings_digest(VLLMOptions("demo", engine={"tokenizer": str(named)})))
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "generation_config.json", "chat_template.jinja", "adapter_config.json"),
        *("model.safetensors", "modeling_own.py", "additional_chat_templates/short.jinja"),
    ],
)
def test_each_file_of_a_checkpoint_counts_under_the_same_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL_PATH, folder)
    before = checkpoint_identity(str(folder), None)
    assert checkpoint_identity(str(folder), None) == before
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes((file.read_bytes() if file.exists() else b"") + b" ")
    assert checkpoint_identity(str(folder), None) != before


def test_large_weights_are_not_read_and_count_by_size_and_time(tmp_path: Path) -> None:
    shutil.copy2(MODEL_PATH / "config.json", tmp_path)
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(200 * SMALL_FILE_BYTES)  # takes no space on the disk
    before = checkpoint_identity(str(tmp_path), None)
    os.utime(weights, ns=(0, 1))
    assert checkpoint_identity(str(tmp_path), None) != before


def test_a_model_of_the_hub_is_its_commit_or_is_refused() -> None:
    assert checkpoint_identity("a/b", "c1") != checkpoint_identity("a/b", "c2")
    with pytest.raises(UserError, match="commit of a/b is not known"):
        checkpoint_identity("a/b", None)


def job(parts: list[dict[str, Any]], until: tuple[str, ...] = (), text: str | None = None) -> Job:
    return Job(
        index=0,
        task="a",
        question=0,
        context="",
        build=lambda: [{"role": "user", "content": parts}],
        settings=GenerationSettings({"max_new_tokens": 3}, until),
        continuation=None if text is None else lambda: text,
    )


def test_each_part_of_a_question_counts(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (2, 3), colour) for colour in ("red", "blue"))
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"one")
    asked = [
        job([{"type": "text", "text": "a"}]),
        job([{"type": "text", "text": "a"}], until=("b",)),
        job([{"type": "text", "text": "a"}], text="c"),
        job([{"type": "text", "text": "a"}], text="d"),
        job([{"type": "image", "image": red}]),
        job([{"type": "image", "image": blue}]),
        job([{"type": "image", "image": red.transpose(Image.Transpose.ROTATE_90)}]),
        job([{"type": "image", "image": red}, {"type": "image", "image": red}]),
        job([{"type": "audio", "audio": {"array": np.zeros(3), "sampling_rate": 2}}]),
        job([{"type": "audio", "audio": {"array": np.ones(3), "sampling_rate": 2}}]),
        job([{"type": "video", "video": str(clip)}]),
    ]
    found = [question_digest(one) for one in asked]
    clip.write_bytes(b"another")
    found.append(question_digest(asked[-1]))
    assert None not in found
    assert len(set(found)) == len(found)
    assert [question_digest(one) for one in asked[:-1]] == found[:-2]


def test_a_question_that_cannot_be_read_has_no_digest() -> None:
    assert question_digest(job([{"type": "video", "video": object()}])) is None

    def broken() -> list[dict[str, Any]]:
        message = "no such picture"
        raise OSError(message)

    assert question_digest(replace(job([]), build=broken)) is None
