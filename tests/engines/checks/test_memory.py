"""Does the model fit: pure arithmetic, real files, and a hub spoken to over real HTTP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.engines.checks import memory as memory_check
from moe_eval_plugin.errors import InsufficientMemoryError
from moe_eval_plugin.hardware.memory import Memory
from moe_eval_plugin.models.weights.size import WeightSize
from moe_eval_plugin.text import GIB
from tests.models.fake_hub import SHARDS, Hub, folder_with_weights, published

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("dtype", "needed"),
    [
        (None, 1100),
        ("auto", 1100),
        ("bfloat16", 1100),
        ("torch.bfloat16", 1100),
        ("float32", 2090),  # 450 numbers of 2 bytes get 4 bytes, 100 quantised bytes stay
        ("no such dtype", 1100),
    ],
)
def test_memory_follows_the_dtype_asked_for(dtype: str | None, needed: int) -> None:
    size = WeightSize(total_bytes=1000, elements={"BF16": 450, "U8": 100})
    assert memory_check.bytes_needed(size, dtype) == needed


def test_a_smaller_dtype_needs_less() -> None:
    size = WeightSize(total_bytes=4000, elements={"F32": 1000})
    assert memory_check.bytes_needed(size, "float16") == 2200


def test_memory_that_suffices_exactly_is_enough() -> None:
    memory_check.require_memory("m", 100, Memory(100, "the RAM"))
    with pytest.raises(InsufficientMemoryError):
        memory_check.require_memory("m", 101, Memory(100, "the RAM"))


def test_refusal_names_sizes_and_ways_out() -> None:
    with pytest.raises(InsufficientMemoryError) as caught:
        memory_check.require_memory("big/model", 62 * GIB, Memory(16 * GIB, "cuda:0"))
    for part in (
        "big/model",
        "62.0 GiB",
        "16.0 GiB",
        "cuda:0",
        "pretrained=demo",
        "dtype=bfloat16",
        "device_map=auto",
        "MOE_EVAL_SKIP_PREFLIGHT=1",
    ):
        assert part in str(caught.value)


def test_disk_must_hold_the_download() -> None:
    memory_check.require_disk("m", 5 * GIB, 5 * GIB)
    with pytest.raises(
        InsufficientMemoryError, match=r"download of 6\.0 GiB, and 5\.0 GiB.*HF_HOME"
    ):
        memory_check.require_disk("m", 6 * GIB, 5 * GIB)


def test_folder_that_fits_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = folder_with_weights(tmp_path)
    memory_check.check_memory(str(folder), device="cpu", device_map=None, dtype="float32")
    assert "not checked" not in caplog.text


def huge_folder(folder: Path) -> Path:
    """A sparse file of 15 TiB, which takes no space on the disk."""
    (folder / "config.json").write_text("{}")
    with (folder / "pytorch_model.bin").open("wb") as file:
        file.truncate(15 * 1024 * GIB)
    return folder


def test_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = huge_folder(tmp_path)
    with pytest.raises(InsufficientMemoryError, match=r"16,896\.0 GiB"):
        memory_check.check_memory(str(folder), device="cpu", device_map=None, dtype=None)


def test_check_can_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MOE_EVAL_SKIP_PREFLIGHT", "1")
    caplog.set_level(logging.INFO)
    folder = huge_folder(tmp_path)
    memory_check.check_memory(str(folder), device="cpu", device_map=None, dtype=None)
    assert "was not checked" in caplog.text
    monkeypatch.setenv("MOE_EVAL_SKIP_PREFLIGHT", "0")
    with pytest.raises(InsufficientMemoryError):
        memory_check.check_memory(str(folder), device="cpu", device_map=None, dtype=None)


def test_unknown_size_is_logged_and_does_not_stop(caplog: pytest.LogCaptureFixture) -> None:
    memory_check.check_memory("somebody/unknown", device="cpu", device_map=None, dtype=None)
    assert "size of somebody/unknown is not known" in caplog.text


def test_model_on_the_hub_is_refused_before_its_weights_are_asked_for(fake_hub: type[Hub]) -> None:
    fake_hub.models["big/model"] = published(dict.fromkeys(SHARDS, 10**16))
    with pytest.raises(InsufficientMemoryError, match="Nothing was downloaded"):
        memory_check.check_memory("big/model", device="cpu", device_map=None, dtype=None)
    assert fake_hub.requests
    assert not any("safetensors" in path for path in fake_hub.requests)
