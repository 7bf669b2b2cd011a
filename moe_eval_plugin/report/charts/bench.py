"""Charts of ``moe-eval bench``: speed-ups in prefill and decode over the batch size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.report.charts.base import (
    POINT_SIZE,
    Figure,
    data,
    finished,
    marks,
    numbers_on_hover,
    slower_region,
    speed_up_axis,
)

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
    own = marks("k:N", names, alt.Legend(title=None, columns=4))
    base = alt.Chart(data(rows)).encode(
        x=alt.X("batch:O", title="batch size", axis=alt.Axis(grid=False, labelAngle=0)),
        xOffset=alt.XOffset("k:N", sort=names),
        color=own.color,
    )
    title = f"speed-up over k={reference}"
    y = speed_up_axis("gain", max(row["ceiling"] or row["largest"] for row in rows), title)
    tooltip = [
        alt.Tooltip("k:N", title="setting"),
        alt.Tooltip("batch:O", title="batch size"),
        *numbers_on_hover(
            ("gain:Q", "speed-up", ".3f"),
            ("smallest:Q", "smallest of the rounds", ".3f"),
            ("largest:Q", "largest", ".3f"),
            ("ceiling:Q", "ceiling", ".3f"),
        ),
    ]
    bounded = any(row["ceiling"] is not None for row in rows)
    ceilings = base.transform_filter("isValid(datum.ceiling)").mark_tick(thickness=3)
    chart = alt.layer(
        *slower_region(),
        *([ceilings.encode(y=alt.Y("ceiling:Q", title=title))] if bounded else []),
        base.mark_rule(style=["interval"]).encode(
            y=alt.Y("smallest:Q", title=title), y2="largest:Q"
        ),
        base.mark_point(size=POINT_SIZE, filled=True, opacity=1).encode(
            y=y, shape=own.shape, tooltip=tooltip
        ),
    )
    spoken = ". ".join(f"{row['k']}, batch {row['batch']}: {row['gain']:.2f}" for row in rows)
    return Figure(
        name=name,
        title=heading,
        caption=(
            "Points are the medians of the rounds, with bars from the smallest to the largest. "
            "Dashes across: Amdahl's ceiling on the speed-up, in the same colour. Shaded: slower "
            "than the published k."
        ),
        description=f"{heading}. {spoken}.",
        chart=finished(chart),
    )
