"""Examine the installation and this machine.

torch is imported last, in a subprocess: a broken build can crash an interpreter.
"""

from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING

from moe_eval_plugin.doctor.check import Check
from moe_eval_plugin.doctor.hosts import check_harnesses, check_vllm
from moe_eval_plugin.doctor.machine import (
    check_disk,
    check_machine,
    check_network,
    check_variables,
)
from moe_eval_plugin.doctor.packages import (
    DISTRIBUTION,
    check_demo,
    check_package,
    check_python,
    check_tasks,
    check_torch,
    check_torchvision,
)
from moe_eval_plugin.doctor.plugins import check_plugins
from moe_eval_plugin.hardware.imported_torch import (
    TORCH_PROGRAM,
    TORCHVISION_PROGRAM,
    run_python,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("transformers", "datasets", "accelerate", "easy-vqa")


def examine(*, network: bool = False) -> Iterator[Check]:
    """Yield every check as it is made; with ``network``, also whether the hub answers in 3 s."""
    yield check_python()
    yield Check(DISTRIBUTION, "ok", metadata.version(DISTRIBUTION))
    yield from check_harnesses()
    yield from (check_package(name) for name in PACKAGES)
    yield from check_vllm()
    yield check_tasks()
    yield check_demo()
    yield from check_plugins()
    yield check_machine()
    yield check_disk()
    yield from check_variables(os.environ)
    if network:
        yield check_network()
    run = run_python(TORCH_PROGRAM + TORCHVISION_PROGRAM)
    yield from check_torch(run)
    yield check_torchvision(run)
