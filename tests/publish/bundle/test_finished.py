from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.bundle.contents import collect
from moe_eval_plugin.sweeps.manifest import load_manifest
from tests.publish.bundle.finished_sweeps import (
    LOCK,
    results_of,
    write_sweep,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_sweep_that_is_not_finished_is_refused_with_the_points_that_lack(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    manifest = load_manifest(folder)
    assert manifest is not None
    broken = replace(manifest.entry("k2"), state="failed", results=None, reason="out of memory")
    manifest.change("k2", broken)
    with pytest.raises(DataError, match=r"not finished:\n  k2: failed. out of memory\nRun the"):
        collect(folder, LOCK)


def test_a_point_whose_results_are_gone_is_not_finished(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    results_of(folder, "k8").unlink()
    with pytest.raises(DataError, match=r"k8: its results file k8/demo/\S+ is missing"):
        collect(folder, LOCK)
