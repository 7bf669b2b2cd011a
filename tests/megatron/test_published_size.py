"""A model of the size of FLAME-MoE-38M-100M computes what Megatron-core computes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.conversion.logits import differences
from tests.conversion.megatron_run import MegatronRun
from tests.megatron.oracle.shapes import PUBLISHED_38M

if TYPE_CHECKING:
    from pathlib import Path

    from tests.megatron.conftest import Oracle

# Megatron itself is 1.4e-5 away from a computation in float64.
TOLERANCE = 5e-5


@pytest.fixture(scope="session")
def run(oracle: Oracle) -> MegatronRun:
    shape = replace(PUBLISHED_38M, sequence=16, all_k="1-3-6")
    return MegatronRun(oracle.runs("0.16.1", (("published", shape),))["published"])


@pytest.mark.parametrize("layout", ["deepseek", "qwen2_moe"])
def test_logits_are_equal(run: MegatronRun, layout: str, tmp_path: Path) -> None:
    found = run.converted(tmp_path / "out", layout)
    assert found[6].shape == (2, 16, 50304)
    assert max(differences(found, run.logits()).values()) < TOLERANCE
