from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from moe_eval_plugin.hardware import memory as memory_module
from tests.hardware.fake_gpus import FakeGpu, install

if TYPE_CHECKING:
    from pathlib import Path


MIB = 1024**2


def test_peak_memory_of_the_process_falls_only_when_it_is_reset() -> None:
    if not os.access(memory_module.CLEAR_REFS, os.W_OK):
        pytest.skip("this system does not reset the peak of a process")
    memory_module.reset_peak_memory("cpu")
    before = memory_module.peak_memory("cpu").process_bytes
    block = b"x" * (256 * MIB)
    assert len(block) == 256 * MIB
    del block
    after = memory_module.peak_memory("cpu").process_bytes
    assert after - before > 200 * MIB
    memory_module.reset_peak_memory("cpu")
    assert memory_module.peak_memory("cpu").process_bytes < after - 200 * MIB


def test_without_a_gpu_its_memory_is_not_known() -> None:
    memory = memory_module.peak_memory("cpu")
    assert (memory.allocated_bytes, memory.reserved_bytes) == (None, None)
    assert json.loads(json.dumps(memory.to_dict()))["process_bytes"] > 0
    if not torch.cuda.is_available():
        assert memory_module.peak_memory("cuda").allocated_bytes is None
        memory_module.reset_peak_memory("cuda")


def test_peak_memory_adds_up_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(uuid="b")])
    resets: list[int] = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: [10, 20][index])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda index: [100, 200][index])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    memory = memory_module.peak_memory("cuda:1")
    assert (memory.allocated_bytes, memory.reserved_bytes) == (30, 300)
    memory_module.reset_peak_memory("cuda:1")
    assert resets == [0, 1]


def test_a_system_that_does_not_reset_peaks_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    memory_module.reset_peak_memory("cpu")
    assert memory_module.peak_memory("cpu").process_bytes > 0


def test_ram_of_this_machine() -> None:
    memory = memory_module.free_memory("cpu", None)
    assert memory is not None
    assert memory.where == "the RAM"
    assert 0 < memory.free_bytes < 2**50


def test_device_map_comes_before_the_device() -> None:
    on_cpu = memory_module.free_memory("cuda", "cpu")
    assert on_cpu is not None
    assert on_cpu.where == "the RAM"


def test_automatic_map_adds_the_gpus_to_the_ram() -> None:
    memory = memory_module.free_memory("cpu", "auto")
    assert memory is not None
    n_gpus = torch.cuda.device_count()
    assert memory.where == (f"{n_gpus} GPUs and the RAM together" if n_gpus else "the RAM")


def test_memory_of_a_device_that_is_not_there_is_unknown() -> None:
    assert memory_module.free_memory("cuda:99", None) is None
    assert memory_module.free_memory("abacus", None) is None


def container(folder: Path, limit: str) -> Path:
    (folder / "memory.max").write_text(limit)
    (folder / "memory.current").write_text("700000\n")
    (folder / "memory.stat").write_text("anon 600000\ninactive_file 50000\n")
    return folder


def test_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert memory_module.free_ram_bytes(container(tmp_path, "1000000\n")) == 350_000
    assert memory_module.free_ram_bytes(container(tmp_path, "600000\n")) == 0


def test_container_without_a_limit_has_the_whole_machine(tmp_path: Path) -> None:
    assert memory_module.free_ram_bytes(container(tmp_path, "max\n")) > 350_000


def test_free_disk_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    assert memory_module.free_disk_bytes(tmp_path / "a" / "b") > 0
