from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.sweeps.plan import SweepPlan
from moe_eval_plugin.sweeps.timing.vllm.job import rounds_to_time
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("more", "start_s", "asked", "expected"),
    [
        # One engine times all k, block by block.
        (",enforce_eager=True", 5.0, None, None),
        (",enforce_eager=True", 5.0, 2, 2),
        (",enforce_eager=no", 5.0, None, 3),
        ("", 61.0, None, 1),
        ("", 61.0, 4, 4),
        # Of an earlier release, which did not measure it.
        ("", None, None, 1),
    ],
)
def test_rounds_follow_from_how_the_engine_runs_and_how_long_it_took_to_start(
    tmp_path: Path, more: str, start_s: float | None, asked: int | None, expected: int | None
) -> None:
    write_sweep(tmp_path)

    def take(record: dict[str, Any]) -> None:
        record["provenance"]["engine_start_s"] = start_s

    change(results_of(tmp_path, "k2"), in_record(take))
    manifest = load_manifest(tmp_path)
    assert manifest is not None
    plan = SweepPlan("moe_vllm", f"pretrained=demo{more}", ("easy_vqa",), ())
    assert rounds_to_time(plan, manifest, asked) == expected
