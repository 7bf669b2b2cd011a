"""Table of memory bandwidth and peak FLOP/s of common accelerators, from their data sheets.

One entry is one device as torch counts them: one die of an MI250X, which has two. Figures are
dense: where a data sheet gives tensor cores with 2:4 sparsity alone (all NVIDIA sheets since
Hopper do), its figure is halved. ``float32`` is arithmetic in full precision, as torch multiplies
matrices unless TF32 is allowed; ``tfloat32`` is with TF32 allowed. ``float8`` is either of the
8-bit formats. 16-bit and 8-bit figures are those that accumulate in float32, which on GeForce
cards is half of the advertised number.

A device is looked up by its whole name, not by a part of it: a laptop chip, a slice of a GPU (MIG)
and a variant for one market have similar names but other figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.plugins.accelerator import Accelerator, accelerator_key
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.plugins.manager import registered_accelerators

if TYPE_CHECKING:
    from collections.abc import Iterable

GIGA = 1e9
TERA = 1e12


def find_accelerator(name: str) -> Accelerator | None:
    """Return the device of the whole name that its driver reports; ``None`` if it is not listed.

    Raises ``PluginLoadError`` if plugins list a device twice.
    """
    return registered_accelerators().get(accelerator_key(name))


@hookimpl
def moe_eval_register_accelerators() -> Iterable[Accelerator]:
    """Return the devices of the table."""
    return TABLE


def _entry(
    *names: str, gb_per_s: float, source: str, tf32: float | None = None, **tera: float | None
) -> Accelerator:
    """Build an entry from gigabytes per second and teraflops per second.

    ``half`` means ``bfloat16`` and ``float16``, which run equally fast on what has both.
    """
    half = tera.pop("half", None)
    figures = {**tera, "tfloat32": tf32, "bfloat16": half, "float16": tera.get("float16") or half}
    peaks = {dtype: value * TERA for dtype, value in figures.items() if value is not None}
    return Accelerator(names, gb_per_s * GIGA, peaks, source)


AMPERE = "A100 data sheet"
HOPPER = "data sheet, sparse figures halved"
BLACKWELL = "Blackwell data sheet, figures of one GPU, sparse ones halved"
GA102 = "GA102 white paper"
ADA = "Ada white paper"

TABLE = (
    _entry(
        "Tesla T4", gb_per_s=320, float32=8.1, float16=65, source="T4 data sheet; memory 320+ GB/s"
    ),
    _entry(
        "Tesla V100-SXM2-16GB",
        "Tesla V100-SXM2-32GB",
        gb_per_s=900,
        float32=15.7,
        float16=125,
        source="V100 data sheet",
    ),
    _entry(
        "Tesla V100-PCIE-16GB",
        "Tesla V100-PCIE-32GB",
        gb_per_s=900,
        float32=14,
        float16=112,
        source="V100 data sheet",
    ),
    _entry(
        "Tesla V100S-PCIE-32GB", gb_per_s=1134, float32=16.4, float16=130, source="V100 data sheet"
    ),
    _entry(
        "A100-SXM4-40GB",
        "A100-PCIE-40GB",
        gb_per_s=1555,
        float32=19.5,
        tf32=156,
        half=312,
        source=AMPERE,
    ),
    _entry(
        "A100 80GB PCIe",
        gb_per_s=1935,
        float32=19.5,
        tf32=156,
        half=312,
        source=AMPERE,
    ),
    _entry("A100-SXM4-80GB", gb_per_s=2039, float32=19.5, tf32=156, half=312, source=AMPERE),
    _entry("A10", gb_per_s=600, float32=31.2, tf32=62.5, half=125, source="A10 data sheet"),
    _entry("A30", gb_per_s=933, float32=10.3, tf32=82, half=165, source="A30 data sheet"),
    _entry("A40", gb_per_s=696, float32=37.4, tf32=74.8, half=149.7, source="A40 data sheet"),
    _entry("RTX A6000", gb_per_s=768, float32=38.7, tf32=77.4, half=154.8, source=GA102),
    _entry("GeForce RTX 3090", gb_per_s=936, float32=35.6, tf32=35.6, half=71, source=GA102),
    _entry(
        "L4",
        gb_per_s=300,
        float32=30.3,
        tf32=60,
        half=121,
        float8=242.5,
        source="L4 data sheet, sparse figures halved",
    ),
    _entry(
        "L40",
        gb_per_s=864,
        float32=90.5,
        tf32=90.5,
        half=181.05,
        float8=362,
        source="L40 data sheet",
    ),
    _entry(
        "L40S",
        gb_per_s=864,
        float32=91.6,
        tf32=183,
        half=362.05,
        float8=733,
        source="L40S data sheet",
    ),
    _entry(
        "RTX 6000 Ada Generation",
        gb_per_s=960,
        float32=91.1,
        tf32=182.1,
        half=364.2,
        float8=728.5,
        source=ADA,
    ),
    _entry(
        "GeForce RTX 4090",
        gb_per_s=1008,
        float32=82.6,
        tf32=82.6,
        half=165.2,
        float8=330.3,
        source=ADA,
    ),
    _entry(
        "H100 PCIe",
        gb_per_s=2039,
        float32=51,
        tf32=378,
        half=756.5,
        float8=1513,
        source=f"H100 {HOPPER}; memory from its clock and width, the sheet rounds to 2 TB/s",
    ),
    _entry(
        "H100 80GB HBM3",
        gb_per_s=3350,
        float32=67,
        tf32=494.5,
        half=989.5,
        float8=1979,
        source=f"H100 {HOPPER}",
    ),
    _entry(
        "H100 NVL",
        gb_per_s=3900,
        float32=60,
        tf32=417.5,
        half=835.5,
        float8=1670.5,
        source=f"H100 NVL {HOPPER}",
    ),
    _entry(
        "H200",
        gb_per_s=4800,
        float32=67,
        tf32=494.5,
        half=989.5,
        float8=1979,
        source=f"H200 {HOPPER}",
    ),
    _entry(
        "H200 NVL",
        gb_per_s=4800,
        float32=60,
        tf32=417.5,
        half=835.5,
        float8=1670.5,
        source=f"H200 {HOPPER}",
    ),
    _entry(
        "GH200 480GB",
        gb_per_s=4000,
        float32=67,
        tf32=494.5,
        half=989.5,
        float8=1979,
        source=f"GH200 {HOPPER}",
    ),
    _entry(
        "GH200 144G HBM3e",
        gb_per_s=4900,
        float32=67,
        tf32=494.5,
        half=989.5,
        float8=1979,
        source=f"GH200 {HOPPER}",
    ),
    _entry(
        "B200",
        gb_per_s=7700,
        float32=75,
        tf32=1100,
        half=2250,
        float8=4500,
        source=f"HGX B200: {BLACKWELL}",
    ),
    _entry(
        "GB200",
        gb_per_s=8000,
        float32=80,
        tf32=1250,
        half=2500,
        float8=5000,
        source=f"GB200 NVL72: {BLACKWELL}",
    ),
    _entry(
        "GeForce RTX 5090",
        gb_per_s=1792,
        float32=104.8,
        tf32=104.8,
        half=209.5,
        float8=419,
        source="RTX Blackwell white paper",
    ),
    _entry(
        "AMD Instinct MI210",
        gb_per_s=1638.4,
        float32=45.3,
        half=181,
        source="MI210 data sheet, matrix cores",
    ),
    _entry(
        "AMD Instinct MI250X",
        gb_per_s=1638.4,
        float32=47.85,
        half=191.5,
        source="MI250X data sheet, matrix cores, halved: torch counts each of its two dies",
    ),
    _entry(
        "AMD Instinct MI300X",
        gb_per_s=5300,
        float32=163.4,
        tf32=653.7,
        half=1307.4,
        float8=2614.9,
        source="MI300X data sheet",
    ),
    _entry(
        "AMD Instinct MI325X",
        gb_per_s=6000,
        float32=163.4,
        tf32=653.7,
        half=1307.4,
        float8=2614.9,
        source="MI325X data sheet",
    ),
)
