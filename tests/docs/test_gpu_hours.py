"""The estimate of GPU hours in the documentation is what its program prints."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_has_the_table_that_the_program_prints(repository_root: Path) -> None:
    program = repository_root / "benchmarks" / "gpu_hours.py"
    page = (repository_root / "docs" / "how-to" / "estimate-a-sweep.md").read_text("utf-8")

    printed = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True
    ).stdout
    _, _, table = printed.partition("\n\n")

    assert page.split("<!-- gpu-hours:start -->\n")[1].split("<!-- gpu-hours:end -->")[0] == table
