"""What the hardware says: this machine's own answers, and GPUs that it need not have."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import psutil
import pytest
import torch

from moe_eval_plugin import accelerators, device
from moe_eval_plugin.calibrate import Calibration
from moe_eval_plugin.device import DeviceFacts
from tests.core.fake_gpus import H100, FakeGpu, FakeNvml, NVMLError, install

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "hardware.md"
MIB = 1024**2

# Units that multiply matrices, FLOP of each per clock in 16 bits, clock in GHz, width of the memory
# in bits, and Gbit/s of each of these: where the figures of a data sheet come from.
DESIGNS = {
    "Tesla T4": (40, 1024, 1.59, 256, 10),
    "Tesla V100-SXM2-32GB": (80, 1024, 1.53, 4096, 1.755),
    "Tesla V100-PCIE-16GB": (80, 1024, 1.37, 4096, 1.755),
    "A100-SXM4-40GB": (108, 2048, 1.41, 5120, 2.43),
    "A100 80GB PCIe": (108, 2048, 1.41, 5120, 3.024),
    "A100-SXM4-80GB": (108, 2048, 1.41, 5120, 3.186),
    "A10": (72, 1024, 1.695, 384, 12.5),
    "A30": (56, 2048, 1.44, 3072, 2.43),
    "A40": (84, 1024, 1.74, 384, 14.5),
    "RTX A6000": (84, 1024, 1.8, 384, 16),
    "GeForce RTX 3090": (82, 512, 1.695, 384, 19.5),
    "L4": (58, 1024, 2.04, 192, 12.5),
    "L40": (142, 512, 2.49, 384, 18),
    "L40S": (142, 1024, 2.49, 384, 18),
    "RTX 6000 Ada Generation": (142, 1024, 2.505, 384, 20),
    "GeForce RTX 4090": (128, 512, 2.52, 384, 21),
    "H100 PCIe": (114, 4096, 1.62, 5120, 3.186),
    "H100 80GB HBM3": (132, 4096, 1.83, 5120, 5.24),
    "H200": (132, 4096, 1.83, 6144, 6.25),
    "B200": (148, 8192, 1.85, 7680, 8),
    "GeForce RTX 5090": (170, 512, 2.407, 512, 28),
    "AMD Instinct MI210": (104, 1024, 1.7, 4096, 3.2),
    "AMD Instinct MI250X": (110, 1024, 1.7, 4096, 3.2),
    "AMD Instinct MI300X": (304, 2048, 2.1, 8192, 5.2),
}


def test_a_processor_tells_its_name_memory_and_threads() -> None:
    facts = device.describe("cpu")
    assert facts.kind == "cpu"
    assert facts.n_devices == 1
    assert facts.threads == torch.get_num_threads()
    assert facts.memory_bytes == psutil.virtual_memory().total
    if "model name" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        assert facts.name
        assert facts.name in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def test_ceilings_of_a_processor_are_not_known_until_they_are_measured() -> None:
    facts = device.describe("cpu")
    assert facts.memory_bandwidth_bytes_per_s is None
    assert facts.peak_flops_per_s is None
    assert facts.peak("float32") is None
    assert facts.source is None
    assert any("calibrate" in reason for reason in facts.reasons)


def test_a_calibration_gives_the_ceilings_of_its_data_type_alone() -> None:
    facts = device.describe("cpu", calibration=Calibration("bfloat16", 1e10, 2e11))
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
    facts = device.describe("cuda:0", calibration=half)
    assert facts.memory_bandwidth_bytes_per_s == bandwidth
    assert facts.peak("float16") == peak
    assert facts.source == "calibrated"
    assert facts.reasons == ("the rest was not measured",)


def test_a_calibration_that_failed_leaves_the_data_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu()])
    failed = Calibration("bfloat16", None, None, ("the memory is full",))
    facts = device.describe("cuda:0", calibration=failed)
    assert facts.source == "table"
    assert facts.peak("bfloat16") == 989.5e12
    assert facts.reasons == ("the memory is full",)


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "cuda:x", "mps", "abacus"])
def test_a_device_that_is_not_there_gives_reasons_and_no_error(name: str) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    facts = device.describe(name)
    assert facts.kind == name.partition(":")[0]
    assert facts.name is None
    assert facts.n_devices is None
    assert name in facts.reasons[0]


def test_facts_are_plain_data_for_a_result_file() -> None:
    calibration = Calibration("float32", 1e10, 2e11, ("the machine was busy",))
    facts = device.describe("cpu", calibration=calibration)
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
    facts = device.describe("cpu")
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
    facts = device.describe("cpu")
    assert (facts.name, facts.clocks_mhz) == (None, None)
    assert any("absent" in reason for reason in facts.reasons)
    assert any("no such file" in reason for reason in facts.reasons)


def test_a_gpu_tells_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu()])
    facts = device.describe("cuda:0")
    assert facts == DeviceFacts(
        kind="cuda",
        name=H100,
        n_devices=1,
        driver="580.95.05",
        memory_bytes=80 * 1024**3,
        clocks_mhz={"sm": 1980.0, "memory": 2619.0},
        power_limit_watts=700.0,
        memory_bandwidth_bytes_per_s=3350e9,
        peak_flops_per_s=accelerators.find(H100).peak_flops_per_s,  # type: ignore[union-attr]
        source="table",
    )


def test_a_name_without_number_means_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(uuid="b")])
    assert device.describe("cuda").n_devices == 2
    assert device.describe("cuda:1").n_devices == 1


def test_gpus_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(name="NVIDIA L4", uuid="b")])
    assert device.describe("cuda").name == H100
    assert any("NVIDIA L4" in reason for reason in device.describe("cuda").reasons)
    assert device.describe("cuda:1").name == "NVIDIA L4"
    assert device.describe("cuda:1").reasons == ()


def test_without_nvidia_ml_py_torch_and_the_table_still_speak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, [FakeGpu()])
    monkeypatch.setitem(sys.modules, "pynvml", None)
    facts = device.describe("cuda:0")
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
    facts = device.describe("cuda:0")
    assert (facts.name, facts.driver) == (H100, None)
    assert len(facts.reasons) == 1
    assert "NVML says" in facts.reasons[0]


def test_one_fact_that_nvml_refuses_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(faults={"clocks": NVMLError("Not Supported")})])
    facts = device.describe("cuda:0")
    assert facts.clocks_mhz is None
    assert facts.power_limit_watts == 700.0
    assert facts.reasons == ("the clocks are not known: NVML says Not Supported",)


def test_an_error_of_cuda_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(index: int) -> str:
        message = f"CUDA error on {index}"
        raise RuntimeError(message)

    install(monkeypatch, [FakeGpu()])
    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    facts = device.describe("cuda:0")
    assert (facts.kind, facts.name) == ("cuda", None)
    assert "CUDA error on 0" in facts.reasons


def test_nvml_is_not_asked_about_gpus_of_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(name="AMD Instinct MI300X")])
    monkeypatch.setattr(torch.version, "hip", "7.0")
    facts = device.describe("cuda:0")
    assert facts.peak("float16") == 1307.4e12
    assert facts.clocks_mhz is None
    assert facts.reasons == ("NVML knows GPUs of NVIDIA only",)


def test_the_real_nvml_has_what_is_asked_of_it() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    asked = [name for name in dir(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert len(asked) == 9
    assert [name for name in asked if not hasattr(pynvml, name)] == []
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM) == (1, 2)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA L20",
        "NVIDIA A10G",
        "NVIDIA",
        "",
    ],
)
def test_a_name_much_like_a_known_one_is_not_taken_for_it(name: str) -> None:
    assert accelerators.find(name) is None


def test_names_of_older_and_newer_drivers_mean_the_same_device() -> None:
    assert accelerators.find("A100-SXM4-80GB") is accelerators.find("NVIDIA A100-SXM4-80GB")
    assert accelerators.find("NVIDIA A100-SXM4-80GB") is not None


@pytest.mark.parametrize("name", DESIGNS)
def test_figures_of_the_table_follow_from_the_design(name: str) -> None:
    units, flop_per_clock, ghz, bits, gbit_per_s = DESIGNS[name]
    entry = accelerators.find(name)
    assert entry is not None
    dense = units * flop_per_clock * ghz * 1e9
    assert entry.peak_flops_per_s["float16"] == pytest.approx(dense, rel=0.015)
    assert entry.memory_bandwidth_bytes_per_s == pytest.approx(
        bits * gbit_per_s / 8 * 1e9, rel=0.01
    )


def test_each_entry_of_the_table_agrees_with_itself() -> None:
    names = [name for entry in accelerators.TABLE for name in entry.names]
    assert len(names) == len({name.casefold() for name in names})
    for entry in accelerators.TABLE:
        peaks = entry.peak_flops_per_s
        assert entry.source
        assert 3e11 <= entry.memory_bandwidth_bytes_per_s <= 1e13
        assert peaks["float32"] <= peaks.get("tfloat32", peaks["float16"]) <= peaks["float16"]
        assert peaks.get("bfloat16", peaks["float16"]) == peaks["float16"]
        if "float8" in peaks:
            assert peaks["float8"] == pytest.approx(2 * peaks["float16"], rel=0.015)


def test_the_page_shows_the_table() -> None:
    def cells(value: float | None) -> str:
        return "" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")

    rows = re.findall(r"^\| (.+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    shown = {tuple(cell.strip() for cell in row.split("|")) for row in rows}
    for entry in accelerators.TABLE:
        peaks = entry.peak_flops_per_s
        kinds = ("float32", "tfloat32", "bfloat16", "float16", "float8")
        tera = (cells(peaks[kind] / 1e12 if kind in peaks else None) for kind in kinds)
        bandwidth = cells(entry.memory_bandwidth_bytes_per_s / 1e9)
        assert (", ".join(entry.names), bandwidth, *tera, entry.source) in shown


def test_a_peak_is_found_by_any_name_of_its_data_type() -> None:
    facts = DeviceFacts("cuda", peak_flops_per_s={"bfloat16": 2.0, "float8": 4.0})
    assert facts.peak("torch.bfloat16") == facts.peak("bfloat16") == 2.0
    assert facts.peak("torch.float8_e4m3fn") == facts.peak("float8") == 4.0
    assert facts.peak("float16") is None


def test_peak_memory_of_the_process_falls_only_when_it_is_reset() -> None:
    if not os.access(device.CLEAR_REFS, os.W_OK):
        pytest.skip("this system does not reset the peak of a process")
    device.reset_peak_memory("cpu")
    before = device.peak_memory("cpu").process_bytes
    block = b"x" * (256 * MIB)
    assert len(block) == 256 * MIB
    del block
    after = device.peak_memory("cpu").process_bytes
    assert after - before > 200 * MIB
    device.reset_peak_memory("cpu")
    assert device.peak_memory("cpu").process_bytes < after - 200 * MIB


def test_without_a_gpu_its_memory_is_not_known() -> None:
    memory = device.peak_memory("cpu")
    assert (memory.allocated_bytes, memory.reserved_bytes) == (None, None)
    assert json.loads(json.dumps(memory.to_dict()))["process_bytes"] > 0
    if not torch.cuda.is_available():
        assert device.peak_memory("cuda").allocated_bytes is None
        device.reset_peak_memory("cuda")


def test_peak_memory_adds_up_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu(uuid="a"), FakeGpu(uuid="b")])
    resets: list[int] = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: [10, 20][index])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda index: [100, 200][index])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    memory = device.peak_memory("cuda:1")
    assert (memory.allocated_bytes, memory.reserved_bytes) == (30, 300)
    device.reset_peak_memory("cuda:1")
    assert resets == [0, 1]


def test_a_system_that_does_not_reset_peaks_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    device.reset_peak_memory("cpu")
    assert device.peak_memory("cpu").process_bytes > 0
