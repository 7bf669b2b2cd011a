"""The wheel holds every file that it should, and works where there is no checkout."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import zipfile
from typing import TYPE_CHECKING

from tests.packaging.wheel_env import known_files, shipped_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.wheel_env import WheelEnvironment

DIST_INFO = ".dist-info/"


def run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        list(command), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_holds_exactly_the_files_that_git_knows(wheel_environment: WheelEnvironment) -> None:
    with zipfile.ZipFile(wheel_environment.wheel) as wheel:
        packed = {name for name in wheel.namelist() if DIST_INFO not in name}

    assert packed == set(shipped_files().values())


def test_wheel_holds_the_tasks_the_types_and_the_licence(
    wheel_environment: WheelEnvironment,
) -> None:
    with zipfile.ZipFile(wheel_environment.wheel) as wheel:
        packed = wheel.namelist()

    assert "moe_eval_plugin/py.typed" in packed
    assert "moe_eval_plugin/tasks/lm_eval/easy_vqa.yaml" in packed
    assert "moe_eval_plugin/models/demo/model/config.json" in packed
    assert "moe_eval_plugin/models/demo/model/model.safetensors" in packed
    assert any(name.endswith("licenses/LICENSE") for name in packed)


def test_modules_come_from_the_wheel(
    wheel_environment: WheelEnvironment, empty_folder: Path
) -> None:
    program = (
        "import json, moe_eval_plugin, moe_eval_plugin.tasks, moe_eval_plugin.model_adapters as a\n"
        "print(json.dumps([moe_eval_plugin.__file__, moe_eval_plugin.tasks.__file__, a.__file__]))"
    )

    files = json.loads(run(wheel_environment.python, "-c", program, folder=empty_folder))

    assert len(files) == 3
    assert all(name.startswith(str(wheel_environment.site_packages)) for name in files)


def test_console_script_tells_the_version(
    wheel_environment: WheelEnvironment, empty_folder: Path
) -> None:
    (installed,) = importlib.metadata.distributions(
        name="moe-eval-plugin", path=[str(wheel_environment.site_packages)]
    )

    output = run(wheel_environment.scripts / "moe-eval", "--version", folder=empty_folder)

    assert installed.version in output


def test_console_script_finds_the_task_folder(
    wheel_environment: WheelEnvironment, empty_folder: Path
) -> None:
    output = run(wheel_environment.scripts / "moe-eval", "tasks-path", folder=empty_folder)

    expected = wheel_environment.site_packages / "moe_eval_plugin" / "tasks" / "lmms_eval"
    assert output.strip() == str(expected)
    definitions = {path.name for path in expected.glob("*.yaml")}
    assert definitions == {
        name.removeprefix("tasks/lmms_eval/")
        for name in known_files()
        if name.startswith("tasks/lmms_eval/") and name.endswith(".yaml")
    }


def test_lmms_eval_lists_the_model_of_the_wheel(
    wheel_environment: WheelEnvironment, empty_folder: Path
) -> None:
    program = (
        "from importlib.metadata import entry_points\n"
        "(point,) = entry_points(group='lmms_eval.models', name='moe_eval_plugin')\n"
        "print(*[manifest.model_id for manifest in point.load()()], sep='\\n')"
    )

    assert "moe_hf" in run(wheel_environment.python, "-c", program, folder=empty_folder).split()


def test_plain_install_works_inside_the_checkout(
    wheel_environment: WheelEnvironment, repository_root: Path
) -> None:
    program = (
        "import moe_eval_plugin.tasks, moe_eval_plugin.model_adapters as adapters\n"
        "print(moe_eval_plugin.tasks.__file__, adapters.__file__, sep='\\n')"
    )

    files = run(wheel_environment.python, "-c", program, folder=repository_root).split("\n")

    assert files[0] == str(repository_root / "tasks" / "__init__.py")
    assert files[1] == str(repository_root / "model_adapters" / "__init__.py")
