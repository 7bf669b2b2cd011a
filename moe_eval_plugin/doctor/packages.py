"""Checks of Python, of packages, and of the files of this one."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.doctor.check import Check
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hardware.imported_torch import (
    TORCH_PROGRAM,
    TORCHVISION_PROGRAM,
    Ended,
    last_line,
    run_python,
)
from moe_eval_plugin.models.checkpoint import resolve
from moe_eval_plugin.text import gib_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DISTRIBUTION = "moe-eval-plugin"
WRONG_BUILD = "operator torchvision::nms does not exist"
WRONG_BUILD_FIX = (
    "torchvision was built for another torch than the installed one, for instance a CUDA build for "
    "a CPU build of torch. Install both from one index: `pip install --force-reinstall torch "
    "torchvision` for the builds on PyPI, or with `--index-url "
    "https://download.pytorch.org/whl/cpu` for CPU builds."
)
TORCH_FIX = "Reinstall it: `pip install --force-reinstall torch torchvision`."
REINSTALL_FIX = f"Reinstall this package: `pip install --force-reinstall {DISTRIBUTION}`."


def check_python() -> Check:
    """Check that the interpreter is not older than this package supports."""
    wanted = metadata.metadata(DISTRIBUTION)["Requires-Python"]
    detail = f"{platform.python_version()} at {sys.executable}"
    if satisfies(platform.python_version(), wanted):
        return Check("python", "ok", detail)
    return Check("python", "fail", detail, f"Create an environment with Python {wanted}.")


def check_package(name: str) -> Check:
    """Check that a package is installed in a supported version."""
    wanted = supported_range(name)
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", f"pip install '{name}{wanted}'")
    if satisfies(installed, wanted):
        return Check(name, "ok", f"{installed} (supported: {wanted or 'any'})")
    detail = f"{installed} is outside the supported range {wanted}"
    return Check(name, "fail", detail, f"pip install '{name}{wanted}'")


def supported_range(name: str) -> str:
    """Return the versions of a package that this package requires; empty for any."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for text in metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) == canonicalize_name(name):
            return str(requirement.specifier)
    return ""


def check_torch(run: Ended | None = None) -> list[Check]:
    """Check that torch can be imported; report its build and its GPUs, as ``run`` printed them."""
    package = check_package("torch")
    if package.status == "fail":
        return [package]
    run = run or run_python(TORCH_PROGRAM)
    if not run.stdout.startswith("{"):
        detail = f"{package.detail} cannot be imported: {last_line(run)}"
        return [Check("torch", "fail", detail, TORCH_FIX)]
    facts = json.loads(run.stdout.splitlines()[0])
    build = f"CUDA {facts['cuda']}" if facts["cuda"] else f"ROCm {facts['hip']}"
    build = build if facts["cuda"] or facts["hip"] else "CPU"
    detail = f"{facts['version']}, a {build} build (supported: {supported_range('torch')})"
    return [Check("torch", "ok", detail), _gpus(facts["gpus"])]


def check_torchvision(run: Ended | None = None) -> Check:
    """Check that torchvision's compiled operators load and work with the installed torch."""
    package = check_package("torchvision")
    if package.status == "fail":
        return package
    run = run or run_python(TORCHVISION_PROGRAM)
    if run.returncode == 0:
        return Check("torchvision", "ok", f"{run.stdout.splitlines()[-1]}, works with this torch")
    wrong_build = WRONG_BUILD in run.stderr
    detail = WRONG_BUILD if wrong_build else f"it cannot be imported: {last_line(run)}"
    return Check("torchvision", "fail", detail, WRONG_BUILD_FIX)


def check_tasks() -> Check:
    """Check that the task definitions are installed."""
    spec = find_spec("moe_eval_plugin.tasks")
    folders = spec.submodule_search_locations if spec else None
    files = [path for folder in folders or [] for path in Path(folder).rglob("*.yaml")]
    if files:
        return Check("tasks", "ok", f"{len(files)} definitions in {next(iter(folders or []))}")
    return Check("tasks", "fail", "no task definitions are installed", REINSTALL_FIX)


def check_demo() -> Check:
    """Check that the embedded model has its configuration and its weights."""
    try:
        folder = Path(resolve("demo"))
    except UserError as error:
        return Check("demo model", "fail", str(error), REINSTALL_FIX)
    if weights := sorted(path.name for path in folder.glob("*.safetensors")):
        return Check("demo model", "ok", f"{', '.join(weights)} in {folder}")
    return Check("demo model", "fail", f"{folder} holds no weights", REINSTALL_FIX)


def _gpus(gpus: Sequence[Mapping[str, Any]]) -> Check:
    texts = [
        f"{gpu['name']} ({gib_text(gpu['free_bytes'])} free of {gib_text(gpu['total_bytes'])})"
        for gpu in gpus
    ]
    return Check("GPUs", "ok", "; ".join(texts) or "none: models run on the CPU")


def satisfies(installed: str, wanted: str) -> bool:
    """Whether a version lies in a range of versions."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(installed, prereleases=True)
