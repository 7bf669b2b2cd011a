"""What may be imported, from where, and at what price."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.wheel_env import WheelEnvironment, known_files, shipped_files

if TYPE_CHECKING:
    from pathlib import Path

MAPPED = ("tasks", "model_adapters")
BARE_FUNCTION = re.compile(r"!function\s+(?!moe_eval_plugin\.)(\S+)")
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"

# Modules that need an extra and say so when it is not installed.
OPTIONAL = {
    "model_adapters/lm_eval_": "lm-eval",
    "model_adapters/lm_eval_vllm": "vllm",
    "model_adapters/lmms_eval_": "lmms-eval",
    "moe_eval_plugin/api/runs.py": "report",
    "moe_eval_plugin/bench/engines/vllm.py": "vllm",
    "moe_eval_plugin/bench/targets/vllm.py": "vllm",
    "moe_eval_plugin/engines/checks/vllm_config.py": "vllm",
    "moe_eval_plugin/engines/vllm/": "vllm",
    "moe_eval_plugin/hardware/nvml.py": "profile",
    "moe_eval_plugin/hosts/lm_eval/": "lm-eval",
    "moe_eval_plugin/hosts/lmms_eval/": "lmms-eval",
    "moe_eval_plugin/models/inspection/plot.py": "report",
    "moe_eval_plugin/publish/exports/trackers/mlflow.py": "mlflow",
    "moe_eval_plugin/publish/exports/trackers/trackio.py": "trackio",
    "moe_eval_plugin/publish/exports/trackers/wandb.py": "wandb",
    "moe_eval_plugin/prompts/lm_eval_model.py": "lm-eval",
    "moe_eval_plugin/report/build.py": "report",
    "moe_eval_plugin/report/charts/": "report",
    "moe_eval_plugin/report/page/": "report",
    "moe_eval_plugin/report/paper/figures.py": "report",
    "moe_eval_plugin/report/paper/files.py": "report",
    "moe_eval_plugin/routing/collect/lm_eval_model.py": "lm-eval",
    "moe_eval_plugin/routing/page/": "report",
    "moe_eval_plugin/sweeps/launchers/ray.py": "ray",
    "moe_eval_plugin/sweeps/launchers/slurm.py": "slurm",
    "moe_eval_plugin/sweeps/timing/vllm/lm": "vllm",
    "moe_eval_plugin/sweeps/workers/lm_eval_model.py": "lm-eval",
    "moe_eval_plugin/tuning/prompts/lm_eval_model.py": "lm-eval",
    "tasks/hub_task": "lm-eval",
    "tasks/lm_eval": "lm-eval",
    "tasks/lmms_eval": "lmms-eval",
}


def imported_names(source: str) -> list[str]:
    """List the modules that some source imports by their full names, anywhere in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return names


def bare_imports(source: str) -> list[str]:
    """List the imports in some source that would make a second copy of a mapped package."""
    return [name for name in imported_names(source) if name.split(".")[0] in MAPPED]


def lint_imports(python: Path, folder: Path, settings: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", LINT, "--config", settings, "--no-logo", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"LANG": "C.UTF-8"},
    )


def test_import_of_the_package_is_light() -> None:
    program = (
        "import json, sys, moe_eval_plugin, moe_eval_plugin.tasks, moe_eval_plugin.cli\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = set(json.loads(result.stdout))

    assert "moe_eval_plugin" in loaded
    assert not loaded & {"torch", "torchvision", "transformers", "datasets", "lmms_eval"}


@pytest.mark.parametrize(
    "source", ["import tasks", "import tasks.vqa", "from model_adapters import hf_arguments"]
)
def test_a_bare_import_is_seen(source: str) -> None:
    assert bare_imports(source)


def test_no_module_imports_a_mapped_folder_by_its_bare_name(repository_root: Path) -> None:
    modules = [name for name in known_files() if name.endswith(".py")]

    found = {name: bare_imports((repository_root / name).read_text("utf-8")) for name in modules}

    assert len(modules) > 10
    assert {name: names for name, names in found.items() if names} == {}


def test_task_definitions_name_functions_in_full(repository_root: Path) -> None:
    definitions = sorted((repository_root / "tasks").glob("*/*.yaml"))

    found = {str(path): BARE_FUNCTION.findall(path.read_text("utf-8")) for path in definitions}

    assert definitions
    assert {name: functions for name, functions in found.items() if functions} == {}


# A line for the end of each module, and the rule that it breaks.
FORBIDDEN = (
    ("errors.py", "import torch", "Plain data needs neither torch nor transformers"),
    (
        "experts/schedules/schedule.py",
        "import lmms_eval",
        "Only hosts, adapters and tasks know a harness",
    ),
    (
        "experts/schedules/schedule.py",
        "from moe_eval_plugin.sweeps import plan",
        "Each package imports only packages below it",
    ),
    (
        "sweeps/launchers/launcher.py",
        "if TYPE_CHECKING:\n    from moe_eval_plugin.sweeps.launchers import choose",
        "No import cycles, in any package",
    ),
    (
        "engines/vllm/options.py",
        "from moe_eval_plugin.engines.transformers import stopping",
        "Engines do not know each other",
    ),
    (
        "hosts/lm_eval/__init__.py",
        "from moe_eval_plugin.hosts.lmms_eval import names",
        "Hosts do not know each other",
    ),
    (
        "tasks/lm_eval_task.py",
        "import lmms_eval",
        "What runs in lm-eval does not know lmms-eval",
    ),
    (
        "model_adapters/lmms_eval_hf.py",
        "from moe_eval_plugin.hosts.lm_eval import names",
        "What runs in lmms-eval does not know lm-eval",
    ),
    (
        "hosts/run_options.py",
        "from moe_eval_plugin.engines.vllm import options",
        "A host knows what engines share, and no engine",
    ),
    (
        "publish/bundle/pack.py",
        "import torch",
        "Publishing needs neither torch nor transformers by itself",
    ),
)


@pytest.fixture
def package_copy(wheel_environment: WheelEnvironment, empty_folder: Path) -> Path:
    """A copy of the installed package, which is imported where the working folder is its parent."""
    copy = empty_folder / "moe_eval_plugin"
    shutil.copytree(wheel_environment.site_packages / "moe_eval_plugin", copy)
    return copy


def test_each_broken_import_rule_is_seen(
    wheel_environment: WheelEnvironment, repository_root: Path, package_copy: Path
) -> None:
    for module, line, _ in FORBIDDEN:
        with (package_copy / module).open("a", encoding="utf-8") as source:
            source.write(f"\n\n{line}\n")

    result = lint_imports(
        wheel_environment.python, package_copy.parent, repository_root / "pyproject.toml"
    )

    rules = {rule for _, _, rule in FORBIDDEN}
    assert result.returncode == 1, result.stdout + result.stderr
    broken = {rule for rule in rules if re.search(rf"^{rule} BROKEN", result.stdout, re.MULTILINE)}
    assert broken == rules
    assert re.search(r"schedule\s*->\s*moe_eval_plugin\.sweeps\.plan", result.stdout), result.stdout


def test_a_module_without_a_layer_is_seen(
    wheel_environment: WheelEnvironment, repository_root: Path, package_copy: Path
) -> None:
    (package_copy / "a_new_module.py").touch()

    result = lint_imports(
        wheel_environment.python, package_copy.parent, repository_root / "pyproject.toml"
    )

    assert result.returncode == 1, result.stdout + result.stderr
    assert "Each package imports only packages below it" in result.stdout + result.stderr
    assert "a_new_module" in result.stdout + result.stderr


def test_each_import_rule_is_broken_once_here(repository_root: Path) -> None:
    settings = tomllib.loads((repository_root / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]

    assert {rule for _, _, rule in FORBIDDEN} == {contract["name"] for contract in contracts}


def names_of(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_every_imported_library_is_a_declared_dependency(repository_root: Path) -> None:
    settings = tomllib.loads((repository_root / "pyproject.toml").read_text("utf-8"))["project"]
    needed = names_of(settings["dependencies"])
    distributions = importlib.metadata.packages_distributions()
    sources = [name for name in shipped_files() if name.endswith(".py")]

    undeclared: dict[str, set[str]] = {}
    for source in sources:
        extras = [extra for start, extra in OPTIONAL.items() if source.startswith(start)]
        of_extras = [settings["optional-dependencies"][extra] for extra in extras]
        declared = needed.union(*map(names_of, of_extras))
        for name in imported_names((repository_root / source).read_text("utf-8")):
            top = name.split(".")[0]
            owners = {canonicalize_name(owner) for owner in distributions.get(top, [top])}
            if top not in {*sys.stdlib_module_names, "moe_eval_plugin"} and not owners & declared:
                undeclared.setdefault(source, set()).add(top)

    assert undeclared == {}
