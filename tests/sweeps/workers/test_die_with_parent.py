from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

SLOW = 120


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        f"time.sleep({SLOW})\n"
    )
    told = tmp_path / "pid"
    starter = (
        "import os, subprocess, sys; "
        "guard = 'moe_eval_plugin.sweeps.workers.die_with_parent'; "
        "subprocess.run([sys.executable, '-m', guard, str(os.getpid()), 'sleeper', "
        f"{str(told)!r}])"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, "-c", starter], env={**os.environ, "PYTHONPATH": path}
    )
    end = time.monotonic() + SLOW / 2
    while time.monotonic() < end and not (told.is_file() and told.read_text()):
        time.sleep(0.05)
    child = int(told.read_text())
    parent.kill()
    parent.wait()
    while time.monotonic() < end and is_running(child):
        time.sleep(0.05)
    assert not is_running(child)


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
