from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.publish.bundle.pack import ROOT
from tests.publish.bundle.finished_sweeps import (
    members,
    packed,
    write_sweep,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_in_the_bundle_has_commands_that_can_be_pasted(tmp_path: Path) -> None:
    found = members(packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz"))
    page = found[f"{ROOT}/README.md"].decode()
    assert "sha256sum --check SHA256SUMS" in page
    assert "moe-eval sweep --model moe_hf --model-args pretrained=demo" in page
    assert "--output again\n" in page
    assert "--output_path again/k2\n" in page
    assert "{" not in page
