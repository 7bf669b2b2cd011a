"""A program of a user, which mypy checks in strict mode (``make types``); it is never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import moe_eval_plugin as moe

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn


def measure(model: nn.Module, folder: Path) -> str:
    """Use every function with its types."""
    with moe.experts_k(model, "8/image:2", observe="all") as k:
        observed: float | None = k.observed
    layers: list[str] = list(k.layers)
    sweep: moe.Sweep = moe.sweep(
        "demo", "easy_vqa", [8, 4], limit=300, output=folder, seeds=[1, 2], progress=False
    )
    answer: moe.Answer = sweep.recommend(within=0.5)
    setting: moe.Setting = sweep[4]
    loss: float | None = setting.loss
    changes = [one.question for one in moe.compare(sweep[8], setting).changes]
    rows = [row["score"] for row in moe.load(folder).table]
    page: Path = sweep.report(folder / "report.html")
    tuned: moe.Tuning = moe.tune("demo", "easy_vqa", [0.5], output=folder / "tuned", seed=1)
    schedules: list[str] = [f"{one} {one.point.verdict}" for one in tuned.schedules]
    ceilings = moe.inspect(model).table.to_dicts()
    return f"{observed} {layers} {answer.headline} {loss} {changes} {rows} {page} {ceilings}" + str(
        schedules
    )


moe.experts_k("no model", 4)  # type: ignore[arg-type]
moe.sweep("demo", "easy_vqa", limits=3)  # type: ignore[call-arg]
