from __future__ import annotations

import re
from pathlib import Path

import pytest

from moe_eval_plugin.hardware import accelerators

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "hardware.md"


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
    assert accelerators.find_accelerator(name) is None


def test_names_of_older_and_newer_drivers_mean_the_same_device() -> None:
    older = accelerators.find_accelerator("A100-SXM4-80GB")
    assert older is accelerators.find_accelerator("NVIDIA A100-SXM4-80GB")
    assert older is not None


@pytest.mark.parametrize("name", DESIGNS)
def test_figures_of_the_table_follow_from_the_design(name: str) -> None:
    units, flop_per_clock, ghz, bits, gbit_per_s = DESIGNS[name]
    entry = accelerators.find_accelerator(name)
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
