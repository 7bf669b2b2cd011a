"""Run a module; its process gets SIGTERM when the parent dies (Linux ``PR_SET_PDEATHSIG``).

``python -m moe_eval_plugin.sweeps.workers.die_with_parent PARENT_PID MODULE ARGUMENTS``. Without
it, a point whose parent was killed would go on, and write into the folder where the next sweep
makes the same point again.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Make Linux end this process when its parent ends; without effect on other systems."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the question
            sys.exit(1)


def main() -> None:
    """Read the parent's process id and a module from the command line, and run the module."""
    die_with_parent(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
