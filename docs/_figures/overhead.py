"""Figures on what measuring costs, from the stored measurements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svg import Axes, Box, Drawing

RAW = Path(__file__).parents[1] / "measurements" / "raw"
ROW = 30


@dataclass(frozen=True)
class Ratio:
    """One row of a chart: a ratio and the ends of its bar; without them it is a heading."""

    label: str
    middle: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of_rounds(cls, label: str, values: dict[str, float]) -> Ratio:
        """Build the row of a median with its smallest and largest round."""
        return cls(label, values["median"], values["min"], values["max"])


def against_the_peer() -> str:
    """Draw how many times as long as ``moe_hf`` the adapter of lmms-eval takes."""
    parts = {"requests_s": "requests", "generate_s": "generate", "process_s": "process"}
    rows, found = [], {}
    for size, file in (("1", "overhead-cpu"), ("16", "overhead-cpu-batch-16")):
        ratios = found[size] = _read(file)["batch_sizes"][size]["ratios"]
        rows.append(Ratio(f"batch size {size}"))
        rows += [Ratio.of_rounds(label, ratios[name]) for name, label in parts.items()]
    medians = [
        f"{one['requests_s']['median']:.2f} for the request phase and "
        f"{one['process_s']['median']:.2f} for the process"
        for one in found.values()
    ]
    title = (
        f"Time of qwen3_vl divided by the time of moe_hf. At batch size 1 the median is "
        f"{medians[0]}, at 16 it is {medians[1]}. Bars reach from the smallest to the largest "
        "round."
    )
    return _chart(rows, title, (0.8, 1.4), "time of qwen3_vl / time of moe_hf")


def of_the_checks() -> str:
    """Draw what profiling and the check for NaN cost."""
    rows = [Ratio("profile=basic")]
    files = ("overhead-cpu", "overhead-cpu", "overhead-cpu-batch-16", "overhead-cpu-profiling")
    for size, file in zip(("1", "16", "16", "16"), files, strict=True):
        ratios = _read(file)["batch_sizes"][size]["profiling"]
        rows.append(Ratio.of_rounds(f"batch {size}", ratios["wall_s"]))
    rows.append(Ratio("check for NaN"))
    found = _read("check-for-nan-cpu")
    for model, label in (("demo", "embedded"), ("vocabulary_151936", "large vocab.")):
        for size in ("1", "16"):
            one = found[model][f"b{size}"]
            rows.append(Ratio(f"{label}, {size}", one["time_ratio"], *one["interval"]))
    shown = ", ".join(f"{one.label}: {one.middle:.2f}" for one in rows if one.middle)
    title = f"Time with a check divided by the time without it. Medians or ratios: {shown}."
    return _chart(rows, title, (0.8, 1.2), "time with / time without")


def _chart(rows: list[Ratio], title: str, limits: tuple[float, float], label: str) -> str:
    height = ROW * len(rows)
    drawing = Drawing(420, height + 66, title)
    axes = Axes(Box(130, 8, 274, height), limits, (len(rows) - 0.5, -0.5))
    n = round((limits[1] - limits[0]) * 10)
    axes.draw(drawing, {limits[0] + i / 10: f"{limits[0] + i / 10:.1f}" for i in range(n + 1)}, {})
    drawing.curve([axes.at(1, -0.5), axes.at(1, len(rows) - 0.5)], colour="soft")
    for place, row in enumerate(rows):
        y = axes.at(1, place)[1]
        if not row.middle:
            drawing.write(8, y + 5, row.label, style="strong")
            continue
        drawing.write(122, y + 5, row.label, anchor="end")
        drawing.curve([axes.at(end, place) for end in (row.low, row.high)], colour="blue")
        drawing.dot(*axes.at(row.middle, place))
    drawing.write(267, height + 52, label, anchor="middle", style="soft")
    return drawing.text()


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RAW / f"{name}.json").read_text("utf-8"))
    return found


FIGURES = {"overhead-adapters": against_the_peer, "overhead-checks": of_the_checks}
