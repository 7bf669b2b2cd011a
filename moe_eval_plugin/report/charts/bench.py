"""Charts of ``moe-eval bench``: speed-ups in prefill and decode over the batch size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.report.charts.base import POINT_SIZE, Figure, data, finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.report.charts.base import Row

PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class Bench:
    """A file of ``moe-eval bench --output``, with the name to show."""

    name: str
    content: Mapping[str, Any]


def read_bench(path: Path) -> Bench:
    """Read a bench; ``DataError`` for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} cannot be read: {error}. Give a file of `moe-eval bench --output`."
        raise DataError(message) from error
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind != "bench" or not isinstance(content.get("points"), list):
        message = (
            f"{path} is of the kind {kind!r}, where a bench was expected. Give a file of "
            "`moe-eval bench --output`."
        )
        raise DataError(message)
    model, device = content.get("model") or {}, content.get("device") or {}
    parts = [PurePath(str(model.get("name"))).name, device.get("name"), model.get("dtype")]
    return Bench(", ".join(str(part) for part in parts if part), content)


def bench_figures(bench: Bench, number: int, *, several: bool) -> Iterator[Figure]:
    """Yield a chart of the speed-up of each phase, where more than one k was measured.

    With ``several`` benches, the titles have the name of theirs, the ``number``-th.
    """
    reference = bench.content.get("reference_num_experts_per_tok")
    for phase in PHASES:
        rows = list(_rows(bench, phase, reference))
        if any(not row["reference"] for row in rows):
            suffix = f"-{number + 1}" if number else ""
            title = f"Speed-up in {phase} against batch size{f': {bench.name}' if several else ''}"
            yield _gain(rows, reference, f"gain-{phase}{suffix}", title)


def _rows(bench: Bench, phase: str, reference: int | None) -> Iterator[Row]:
    for point in bench.content["points"]:
        gain = point.get(f"{phase}_speedup")
        if gain is not None:
            k = point["num_experts_per_tok"]
            yield {
                "k": f"k={k}",
                "batch": point["batch_size"],
                "gain": gain["median"],
                "smallest": gain["smallest"],
                "largest": gain["largest"],
                "ceiling": (point.get(phase) or {}).get("speedup_ceiling"),
                "reference": k == reference,
            }


def _gain(rows: Sequence[Row], reference: int | None, name: str, heading: str) -> Figure:
    names = list(dict.fromkeys(row["k"] for row in rows))
    batches = sorted({row["batch"] for row in rows})
    base = alt.Chart(data(rows)).encode(
        x=alt.X(
            "batch:Q",
            title="batch size",
            scale=alt.Scale(type="log", base=2, padding=16),
            axis=alt.Axis(values=batches, format="d", grid=False),
        ),
        color=alt.Color("k:N", sort=names, legend=alt.Legend(title=None, columns=4)),
    )
    title = f"speed-up over k={reference}"
    y = alt.Y("gain:Q", title=title, scale=alt.Scale(zero=False, nice=True))
    tooltip = [
        alt.Tooltip("k:N", title="setting"),
        alt.Tooltip("batch:Q", title="batch size"),
        alt.Tooltip("gain:Q", title="speed-up", format=".3f"),
        alt.Tooltip("smallest:Q", title="smallest of the rounds", format=".3f"),
        alt.Tooltip("largest:Q", title="largest", format=".3f"),
        alt.Tooltip("ceiling:Q", title="ceiling", format=".3f"),
    ]
    bounded = any(row["ceiling"] is not None for row in rows)
    ceilings = base.transform_filter("isValid(datum.ceiling)").mark_line(style=["ceiling"])
    chart = alt.layer(
        *([ceilings.encode(y=alt.Y("ceiling:Q", title=title))] if bounded else []),
        base.mark_line(style=["curve"]).encode(y=y),
        base.mark_rule(style=["interval"]).encode(
            y=alt.Y("smallest:Q", title=title), y2="largest:Q"
        ),
        base.mark_point(size=POINT_SIZE, filled=True, opacity=1).encode(y=y, tooltip=tooltip),
    )
    spoken = ". ".join(f"{row['k']}, batch {row['batch']}: {row['gain']:.2f}" for row in rows)
    return Figure(
        name=name,
        title=heading,
        caption=(
            "Solid: measured, the median of the rounds, with bars from the smallest to the "
            "largest. Dashed: Amdahl's ceiling on the speed-up, in the same colour."
        ),
        description=f"{heading}. {spoken}.",
        chart=finished(chart),
    )
