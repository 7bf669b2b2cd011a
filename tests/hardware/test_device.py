"""What the hardware says: this machine's own answers, and GPUs that it need not have."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest
import torch

from moe_eval_plugin.hardware import accelerators, device
from moe_eval_plugin.hardware.calibration import Calibration
from moe_eval_plugin.hardware.device import DeviceFacts
from tests.hardware.fake_gpus import H100, FakeGpu, NVMLError, install


def test_a_processor_tells_its_name_memory_and_threads() -> None:
    facts = device.describe_device("cpu")
    assert facts.kind == "cpu"
    assert facts.n_devices == 1
    assert facts.threads == torch.get_num_threads()
    assert facts.memory_bytes == psutil.virtual_memory().total
    if "model name" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        assert facts.name
        assert facts.name in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def test_ceilings_of_a_processor_are_not_known_until_they_are_measured() -> None:
    facts = device.describe_device("cpu")
    assert facts.memory_bandwidth_bytes_per_s is None
    assert facts.peak_flops_per_s is None
    assert facts.peak("float32") is None
    assert facts.source is None
    assert any("calibrate" in reason for reason in facts.reasons)


def test_a_calibration_gives_the_ceilings_of_its_data_type_alone() -> None:
    facts = device.describe_device("cpu", calibration=Calibration("bfloat16", 1e10, 2e11))
    assert facts.memory_bandwidth_bytes_per_s == 1e10
    assert facts.peak("torch.bfloat16") == 2e11
    assert facts.peak("float32") is None
    assert facts.source == "calibrated"
    assert not any("calibrate" in reason for reason in facts.reasons)


@pytest.mark.parametrize(("bandwidth", "peak"), [(1e10, None), (None, 2e11)])
def test_half_a_calibration_is_not_filled_up_from_the_table(
    monkeypatch: pytest.MonkeyPatch, bandwidth: float | None, peak: float | None
) -> None:
    install(monkeypatch, [FakeGpu()])
    half = Calibration("float16", bandwidth, peak, ("the rest was not measured",))
    facts = device.describe_device("cuda:0", calibration=half)
    assert facts.memory_bandwidth_bytes_per_s == bandwidth
    assert facts.peak("float16") == peak
    assert facts.source == "calibrated"
    assert facts.reasons == ("the rest was not measured",)


def test_a_calibration_that_failed_leaves_the_data_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu()])
    failed = Calibration("bfloat16", None, None, ("the memory is full",))
    facts = device.describe_device("cuda:0", calibration=failed)
    assert facts.source == "table"
    assert facts.peak("bfloat16") == 989.5e12
    assert facts.reasons == ("the memory is full",)


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "cuda:x", "mps", "abacus"])
def test_a_device_that_is_not_there_gives_reasons_and_no_error(name: str) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    facts = device.describe_device(name)
    assert facts.kind == name.partition(":")[0]
    assert facts.name is None
    assert facts.n_devices is None
    assert name in facts.reasons[0]


def test_facts_are_plain_data_for_a_result_file() -> None:
    calibration = Calibration("float32", 1e10, 2e11, ("the machine was busy",))
    facts = device.describe_device("cpu", calibration=calibration)
    written = json.loads(json.dumps(facts.to_dict()))
    assert written["peak_flops_per_s"] == {"float32": 2e11}
    assert written["reasons"][-1] == "the machine was busy"
    assert written["driver"] is None
    assert set(written) == set(DeviceFacts.__dataclass_fields__)


def test_a_processor_without_a_name_or_a_clock_has_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 243.75\n", encoding="utf-8")
    monkeypatch.setattr(device, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    facts = device.describe_device("cpu")
    assert facts.name is None
    assert facts.clocks_mhz is None
    assert any("does not name the processor" in reason for reason in facts.reasons)
    assert any("clock" in reason for reason in facts.reasons)


def test_a_system_without_cpuinfo_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        message = "no such file"
        raise FileNotFoundError(message)

    monkeypatch.setattr(device, "CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(psutil, "cpu_freq", broken)
    facts = device.describe_device("cpu")
    assert (facts.name, facts.clocks_mhz) == (None, None)
    assert any("absent" in reason for reason in facts.reasons)
    assert any("no such file" in reason for reason in facts.reasons)


def test_a_gpu_tells_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu()])
    facts = device.describe_device("cuda:0")
    assert facts == DeviceFacts(
        kind="cuda",
        name=H100,
        n_devices=1,
        driver="580.95.05",
        memory_bytes=80 * 1024**3,
        clocks_mhz={"sm": 1980.0, "memory": 2619.0},
        power_limit_watts=700.0,
        memory_bandwidth_bytes_per_s=3350e9,
        peak_flops_per_s=accelerators.find_accelerator(H100).peak_flops_per_s,  # type: ignore[union-attr]
        source="table",
    )


def test_a_name_without_number_means_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(uuid="b")])
    assert device.describe_device("cuda").n_devices == 2
    assert device.describe_device("cuda:1").n_devices == 1


def test_gpus_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(name="NVIDIA L4", uuid="b")])
    assert device.describe_device("cuda").name == H100
    assert any("NVIDIA L4" in reason for reason in device.describe_device("cuda").reasons)
    assert device.describe_device("cuda:1").name == "NVIDIA L4"
    assert device.describe_device("cuda:1").reasons == ()


def test_without_nvidia_ml_py_torch_and_the_table_still_speak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, [FakeGpu()])
    monkeypatch.setitem(sys.modules, "pynvml", None)
    facts = device.describe_device("cuda:0")
    assert facts.name == H100
    assert facts.source == "table"
    assert (facts.driver, facts.clocks_mhz, facts.power_limit_watts) == (None, None, None)
    assert len(facts.reasons) == 1
    assert "moe-eval-plugin[profile]" in facts.reasons[0]


@pytest.mark.parametrize("where", ["library", "identifier"])
def test_a_driver_that_fails_gives_a_reason(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    library = install(monkeypatch, [FakeGpu()])
    if where == "library":
        library.init_fault = NVMLError("Driver/library version mismatch")
    else:
        library._gpus = {}
    facts = device.describe_device("cuda:0")
    assert (facts.name, facts.driver) == (H100, None)
    assert len(facts.reasons) == 1
    assert "NVML says" in facts.reasons[0]


def test_one_fact_that_nvml_refuses_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(faults={"clocks": NVMLError("Not Supported")})])
    facts = device.describe_device("cuda:0")
    assert facts.clocks_mhz is None
    assert facts.power_limit_watts == 700.0
    assert facts.reasons == ("the clocks are not known: NVML says Not Supported",)


def test_an_error_of_cuda_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(index: int) -> str:
        message = f"CUDA error on {index}"
        raise RuntimeError(message)

    install(monkeypatch, [FakeGpu()])
    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    facts = device.describe_device("cuda:0")
    assert (facts.kind, facts.name) == ("cuda", None)
    assert "CUDA error on 0" in facts.reasons


def test_nvml_is_not_asked_about_gpus_of_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(name="AMD Instinct MI300X")])
    monkeypatch.setattr(torch.version, "hip", "7.0")
    facts = device.describe_device("cuda:0")
    assert facts.peak("float16") == 1307.4e12
    assert facts.clocks_mhz is None
    assert facts.reasons == ("NVML reads GPUs of NVIDIA only",)


def test_a_peak_is_found_by_any_name_of_its_data_type() -> None:
    facts = DeviceFacts("cuda", peak_flops_per_s={"bfloat16": 2.0, "float8": 4.0})
    assert facts.peak("torch.bfloat16") == facts.peak("bfloat16") == 2.0
    assert facts.peak("torch.float8_e4m3fn") == facts.peak("float8") == 4.0
    assert facts.peak("float16") is None
