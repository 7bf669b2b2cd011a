from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_the_reference_lists_every_argument_of_ours(repository_root: Path) -> None:
    from moe_eval_plugin.model_adapters.vllm_arguments import OPTIONS, RUN_OPTIONS

    page = (repository_root / "docs" / "reference" / "moe-vllm.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == {*OPTIONS, *RUN_OPTIONS}
