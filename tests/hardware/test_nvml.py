from __future__ import annotations

import pytest
import torch

from moe_eval_plugin.hardware import nvml
from moe_eval_plugin.hardware.nvml import Gpu, NotKnownError
from tests.hardware.fake_gpus import FakeGpu, FakeNvml, install


def test_the_real_nvml_has_what_is_asked_of_it() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    asked = [name for name in dir(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert len(asked) == 11
    assert [name for name in asked if not hasattr(pynvml, name)] == []
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM) == (1, 2)


def test_a_device_names_one_gpu_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(uuid="b")])
    assert nvml.visible("cuda") == [0, 1]
    assert nvml.visible("cuda:1") == [1]


@pytest.mark.parametrize("device", ["cuda:2", "cuda:x", "cuda:-1", "cuda:01"])
def test_a_gpu_that_torch_does_not_see_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(uuid="b")])
    with pytest.raises(NotKnownError, match=f"torch sees 2 GPUs here, and {device} is none"):
        nvml.visible(device)


@pytest.mark.parametrize("prefix", ["", "GPU-"])
def test_a_gpu_is_found_by_its_uuid_and_not_by_its_number(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    gpus = [FakeGpu(uuid="a", energy_millijoules=1), FakeGpu(uuid="b", energy_millijoules=2)]
    install(monkeypatch, gpus)
    properties = torch.cuda.get_device_properties(1)
    properties.uuid = f"{prefix}{properties.uuid}"  # type: ignore[misc]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _index: properties)
    assert Gpu(1).energy_millijoules() == 2


@pytest.mark.parametrize("version", ["580.95.05", b"580.95.05"])
def test_the_version_of_the_driver_may_come_as_bytes(
    monkeypatch: pytest.MonkeyPatch, version: str | bytes
) -> None:
    library = install(monkeypatch, [FakeGpu()])
    monkeypatch.setattr(library, "nvmlSystemGetDriverVersion", lambda: version)
    assert Gpu(0).driver() == "580.95.05"
