from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.sweep.sweeps import SCRIPT

if TYPE_CHECKING:
    from pathlib import Path


def moe_eval(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
