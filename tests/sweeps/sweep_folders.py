from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
from moe_eval_plugin.sweeps.manifest import Manifest, load_manifest
from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
from moe_eval_plugin.sweeps.runner import open_manifest, run_points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


SETTINGS = {"limit": 4, "version of torch": "2"}


POINTS = (SweepPoint("k8", "8", is_baseline=True), SweepPoint("k4", "4"))


PLAN = SweepPlan("moe_hf", "", ("easy_vqa",), POINTS)


def write_results(folder: Path, point: SweepPoint) -> Path:
    path = folder / point.name / "1_results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{{}} {point.name}")
    return path


def run_all(folder: Path, manifest: Manifest, fails: Sequence[str] = ()) -> list[str]:
    """Run what is pending, and return the names of the points that were worked on."""
    worked: list[str] = []

    def work(point: SweepPoint) -> Path:
        worked.append(point.name)
        assert load_manifest(folder).entry(point.name).state == "running"  # type: ignore[union-attr]
        if point.name in fails:
            message = "the machine is on fire"
            raise OSError(message)
        return write_results(folder, point)

    list(run_points(PLAN, manifest, LocalLauncher(), work))
    return worked


def open_it(
    folder: Path, settings: dict[str, object] | None = None, *, restart: bool = False
) -> Manifest:
    return open_manifest(folder, PLAN, settings or SETTINGS, restart=restart)
