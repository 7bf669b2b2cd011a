"""Programs that import torch and torchvision in a process of their own, which may crash.

Of torchvision only the module that loads its compiled operators is imported, which is where builds
that do not fit each other fail. All of it takes as long again as torch, and is imported where that
module fails: it names the fault, or works without operators.
"""

from __future__ import annotations

import subprocess
import sys

IMPORT_TIMEOUT_S = 300
TORCH_PROGRAM = """
import json, torch
gpus = [
    {"name": torch.cuda.get_device_name(i), "free_bytes": torch.cuda.mem_get_info(i)[0],
     "total_bytes": torch.cuda.mem_get_info(i)[1]}
    for i in range(torch.cuda.device_count())
]
build = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip}
print(json.dumps({**build, "gpus": gpus}), flush=True)
"""
TORCHVISION_PROGRAM = """
import importlib.util, sys, types
found = importlib.util.find_spec("torchvision")
package = types.ModuleType("torchvision")
package.__path__ = found.submodule_search_locations or [] if found else []
sys.modules["torchvision"] = package
try:
    from torchvision.extension import _assert_has_ops
    from torchvision.version import __version__
    _assert_has_ops()
except Exception:
    del sys.modules["torchvision"]
    import torchvision, torchvision.ops
    __version__ = torchvision.__version__
print(__version__)
"""

Ended = subprocess.CompletedProcess[str]


def run_python(program: str) -> Ended:
    """Run a program of this module in a process of its own, to its end or for 5 minutes."""
    command = [sys.executable, "-c", program]
    try:
        return subprocess.run(  # noqa: S603  (the program is one of the two above)
            command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        return Ended(
            command, 1, (error.stdout or b"").decode(), f"it took over {IMPORT_TIMEOUT_S} s"
        )


def last_line(run: Ended) -> str:
    """Return the last line of the errors of a program, which names the fault."""
    lines = run.stderr.strip().splitlines()
    return lines[-1] if lines else f"the process ended with code {run.returncode}"
