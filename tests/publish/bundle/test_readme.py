from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.publish.bundle.pack import ROOT
from tests.publish.bundle.finished_sweeps import (
    members,
    packed,
    write_sweep,
)
from tests.results.lm_eval_files import FOLDER

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_names_the_host_and_its_files(repository_root: Path, tmp_path: Path) -> None:
    found = members(packed(repository_root / FOLDER, tmp_path / "run.tar.gz"))
    page = found[f"{ROOT}/README.md"].decode()
    assert "run at 2026-11-28T19:55:14+00:00 with `tiny`" in page
    assert "results and samples, as lm-eval wrote them" in page
    assert "moe-eval lm-eval run --model hf --model_args pretrained=tiny,dtype=float32" in page
    assert "`results_*.json` under `results`" in page
    assert "{" not in page


def test_the_page_in_the_bundle_has_commands_that_can_be_pasted(tmp_path: Path) -> None:
    found = members(packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz"))
    page = found[f"{ROOT}/README.md"].decode()
    assert "sha256sum --check SHA256SUMS" in page
    assert "moe-eval sweep --model moe_hf --model-args pretrained=demo" in page
    assert "--output again\n" in page
    assert "--output_path again/k2\n" in page
    assert "{" not in page
