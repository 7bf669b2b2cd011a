"""Energy counters: this machine's own, files like those of Linux, and a fake NVML."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.hardware.energy import MOST_WATTS, POWERCAP, Counter, EnergyMeter
from moe_eval_plugin.hardware.nvml import NotKnownError
from moe_eval_plugin.testing import ManualClock
from tests.hardware.fake_gpus import FakeGpu, NVMLError, install

if TYPE_CHECKING:
    from collections.abc import Mapping

RANGE = 262_143_328_850
ZONES = {
    "intel-rapl": None,
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "dram",
    "intel-rapl:1": "package-1",
    "intel-rapl:2": "psys",
    "intel-rapl-mmio:0": "package-0",
}


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """The files of a machine with two sockets, one with a counter of its memory."""
    for zone, name in ZONES.items():
        (tmp_path / zone).mkdir()
        if name is not None:
            (tmp_path / zone / "name").write_text(f"{name}\n", encoding="ascii")
            (tmp_path / zone / "max_energy_range_uj").write_text(f"{RANGE}\n", encoding="ascii")
    count(tmp_path, dict.fromkeys(ZONES, 1_000_000))
    return tmp_path


def count(powercap: Path, microjoules: Mapping[str, int | str]) -> None:
    for zone, value in microjoules.items():
        (powercap / zone / "energy_uj").write_text(f"{value}\n", encoding="ascii")


def test_this_machine_gives_joules_or_a_reason() -> None:
    meter = EnergyMeter("cpu")
    total = sum(i * i for i in range(300_000))
    joules = meter.joules()
    assert total > 0
    if meter.source is None:
        assert joules is None
        assert len(meter.reasons) == 1
        assert str(POWERCAP) in meter.reasons[0]
    else:
        assert meter.source == "RAPL"
        assert joules is None or 0 < joules < 1e5


@pytest.mark.parametrize("device", ["cuda", "cuda:5", "mps"])
def test_a_device_that_is_not_there_has_no_energy(device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    meter = EnergyMeter(device)
    assert meter.joules() is None
    assert (meter.source, meter.resolution, meter.resolution_joules) == (None, None, None)
    assert len(meter.reasons) == 1


def test_sockets_and_memory_count_and_parts_of_a_socket_do_not(powercap: Path) -> None:
    meter = EnergyMeter("cpu", powercap=powercap)
    count(powercap, dict.fromkeys(ZONES, 90_000_000))
    count(powercap, {"intel-rapl:0": 3_500_000, "intel-rapl:1": 2_000_000})
    count(powercap, {"intel-rapl:0:1": 1_250_000})
    assert meter.joules() == pytest.approx(2.5 + 1.0 + 0.25)
    assert meter.domains == ("0 package-0", "0:1 dram", "1 package-1")
    assert meter.source == "RAPL"
    assert meter.reasons == ()


def test_start_begins_again_at_nothing(powercap: Path) -> None:
    meter = EnergyMeter("cpu", powercap=powercap)
    count(powercap, {"intel-rapl:0": 5_000_000})
    assert meter.joules() == pytest.approx(4.0)
    assert meter.joules() == pytest.approx(4.0)
    meter.start()
    count(powercap, {"intel-rapl:0": 5_500_000})
    assert meter.joules() == pytest.approx(0.5)


def test_a_counter_that_went_round_goes_on(powercap: Path) -> None:
    count(powercap, {"intel-rapl:0": RANGE - 2_000_000})
    meter = EnergyMeter("cpu", powercap=powercap)
    count(powercap, {"intel-rapl:0": 1_000_000})
    assert meter.joules() == pytest.approx(3.0)


@given(st.integers(0, RANGE - 1), st.lists(st.integers(1, RANGE - 1), min_size=1, max_size=20))
def test_readings_add_up_however_often_the_counter_goes_round(begin: int, steps: list[int]) -> None:
    counter = Counter("package-0", lambda: 0, 1.0, RANGE)
    total, true = 0.0, begin
    for step in steps:
        total += counter.joules_between(true % RANGE, (true + step) % RANGE, elapsed_s=0.001)
        true += step
    assert total == pytest.approx(sum(steps))


def test_a_counter_that_was_not_read_for_too_long_is_not_believed(powercap: Path) -> None:
    clock = ManualClock()
    meter = EnergyMeter("cpu", powercap=powercap, clock=clock)
    clock.advance(RANGE * 1e-6 / MOST_WATTS - 1)
    count(powercap, {"intel-rapl:0": 2_000_000})
    assert meter.joules() == pytest.approx(1.0)
    clock.advance(RANGE * 1e-6 / MOST_WATTS + 2)
    count(powercap, {"intel-rapl:0": 3_000_000})
    assert meter.joules() is None
    assert "more than once" in meter.reasons[0]
    clock.advance(1)
    assert meter.joules() is None
    meter.start()
    count(powercap, {"intel-rapl:0": 4_000_000})
    assert meter.joules() == pytest.approx(1.0)


def test_a_long_run_is_counted_if_it_is_read_often(powercap: Path) -> None:
    clock = ManualClock()
    meter = EnergyMeter("cpu", powercap=powercap, clock=clock)
    watts, seconds = 400, 3600
    for second in range(60, seconds + 1, 60):
        clock.advance(60)
        count(powercap, {"intel-rapl:0": (1_000_000 + watts * second * 1_000_000) % RANGE})
        joules = meter.joules()
    assert watts * seconds * 1e6 > 5 * RANGE
    assert joules == pytest.approx(watts * seconds)


def test_a_counter_that_does_not_move_is_unknown_and_not_zero(powercap: Path) -> None:
    meter = EnergyMeter("cpu", powercap=powercap)
    assert meter.joules() is None
    assert meter.joules() is None
    assert len(meter.reasons) == 1
    assert "too short" in meter.reasons[0]
    count(powercap, {"intel-rapl:1": 1_000_100})
    assert meter.joules() == pytest.approx(1e-4)


def test_files_for_root_alone_give_a_reason_with_the_cure(
    powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = Path.read_text

    def guarded(path: Path, encoding: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read_text(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", guarded)  # root, who may run this, can read everything
    meter = EnergyMeter("cpu", powercap=powercap)
    assert meter.source is None
    assert meter.joules() is None
    assert "root only" in meter.reasons[0]
    assert "chmod" in meter.reasons[0]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("intel-rapl:1/energy_uj", "unsupported", "unsupported"),
        ("intel-rapl:1/energy_uj", "", "is not a number"),
        ("intel-rapl:1/max_energy_range_uj", "0", "its counter wraps"),
        ("intel-rapl:1/max_energy_range_uj", None, "cannot be read"),
    ],
)
def test_one_broken_file_makes_the_sum_unknown(
    powercap: Path, file: str, content: str | None, reason: str
) -> None:
    if content is None:
        (powercap / file).unlink()
    else:
        (powercap / file).write_text(content, encoding="ascii")
    meter = EnergyMeter("cpu", powercap=powercap)
    assert meter.joules() is None
    assert meter.source is None
    assert file.rpartition("/")[0] in meter.reasons[0]
    assert reason in meter.reasons[0]


def test_a_counter_that_disappears_is_unknown_until_the_next_start(powercap: Path) -> None:
    meter = EnergyMeter("cpu", powercap=powercap)
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.joules() is None
    count(powercap, {"intel-rapl:1": 7_000_000})
    assert meter.joules() is None
    meter.start()
    count(powercap, {"intel-rapl:1": 8_000_000})
    assert meter.joules() == pytest.approx(1.0)


def test_a_folder_without_sockets_gives_a_reason(tmp_path: Path) -> None:
    meter = EnergyMeter("cpu", powercap=tmp_path)
    assert meter.joules() is None
    assert "RAPL" in meter.reasons[0]
    assert (
        EnergyMeter("cpu", powercap=tmp_path / "absent")
        .reasons[0]
        .endswith("absent does not exist")
    )


def test_the_instrument_is_plain_data_for_a_result_file(powercap: Path, tmp_path: Path) -> None:
    written = json.loads(json.dumps(EnergyMeter("cpu", powercap=powercap).to_dict()))
    assert written["source"] == "RAPL"
    assert written["resolution_joules"] == 1e-6
    assert "millisecond" in written["resolution"]
    assert written["domains"] == ["0 package-0", "0:1 dram", "1 package-1"]
    unknown = EnergyMeter("cpu", powercap=tmp_path / "absent").to_dict()
    assert unknown["source"] is None
    assert unknown["reasons"]


def test_the_counters_of_gpus_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [FakeGpu(uuid="a"), FakeGpu(uuid="b")]
    install(monkeypatch, gpus)
    both, second = EnergyMeter("cuda"), EnergyMeter("cuda:1")
    gpus[0].energy_millijoules += 1500
    gpus[1].energy_millijoules += 700
    assert both.joules() == pytest.approx(2.2)
    assert second.joules() == pytest.approx(0.7)
    assert both.source == "NVML total energy"
    assert both.resolution_joules == 1e-3
    assert both.domains == ("cuda:0", "cuda:1")
    assert second.domains == ("cuda:1",)


def test_a_counter_that_was_reset_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    install(monkeypatch, [gpu])
    meter = EnergyMeter("cuda:0")
    gpu.energy_millijoules = 100
    assert meter.joules() is None
    assert "reset" in meter.reasons[0]


def test_a_gpu_without_a_counter_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(faults={"energy": NVMLError("Not Supported")})
    install(monkeypatch, [gpu])
    meter = EnergyMeter("cuda:0")
    assert meter.source is None
    assert meter.joules() is None
    assert meter.reasons == ("this GPU has no readable energy counter: NVML says Not Supported",)


def test_a_gpu_that_falls_silent_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    install(monkeypatch, [gpu])
    meter = EnergyMeter("cuda:0")
    gpu.energy_millijoules += 1000
    gpu.faults["energy"] = NVMLError("GPU is lost")
    assert meter.joules() is None
    assert "GPU is lost" in meter.reasons[0]


def test_an_error_of_cuda_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(index: int) -> None:
        message = f"CUDA error on {index}"
        raise RuntimeError(message)

    install(monkeypatch, [FakeGpu()])
    monkeypatch.setattr(torch.cuda, "get_device_properties", broken)
    meter = EnergyMeter("cuda:0")
    assert meter.joules() is None
    assert "CUDA error on 0" in meter.reasons[0]


def test_without_nvidia_ml_py_the_reason_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [FakeGpu()])
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = EnergyMeter("cuda:0")
    assert meter.joules() is None
    assert "moe-eval-plugin[profile]" in meter.reasons[0]


def test_the_real_nvml_without_a_driver_gives_its_own_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        expected = str(error)
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has NVML")
    install(monkeypatch, [FakeGpu()])
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    meter = EnergyMeter("cuda:0")
    assert meter.joules() is None
    assert meter.reasons == (f"NVML does not find the GPU: NVML says {expected}",)


def test_a_counter_without_a_range_never_goes_back() -> None:
    counter = Counter("cuda:0", lambda: 0, 1e-3)
    assert counter.joules_between(1000, 3000, elapsed_s=1e9) == pytest.approx(2.0)
    with pytest.raises(NotKnownError, match="cuda:0"):
        counter.joules_between(3000, 1000, elapsed_s=1.0)
