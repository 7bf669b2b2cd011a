"""The wheel beside one harness alone, and beside none: it needs nothing that the other one brings.

An environment has what the wheel and one of its extras require, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.hosts.lm_eval.local_tasks import write_tasks
from tests.hosts.lm_eval.tiny_olmoe import save_olmoe
from tests.packaging.closure_env import make_closure_environment
from tests.packaging.test_imports import OPTIONAL
from tests.packaging.wheel_env import shipped_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.packaging.wheel_env import WheelEnvironment

# Runs commands one after another, and imports modules; prints what became of each.
PROGRAM = """
import contextlib, importlib, io, json, sys
from moe_eval_plugin.cli import main

def run(*arguments):
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(arguments)
    heavy = sorted({"torch", "transformers", "lmms_eval", "lm_eval"} & {*sys.modules})
    return {"code": code, "out": stdout.getvalue(), "err": stderr.getvalue(), "heavy": heavy}

def missing(names):
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            yield name, error.name

commands, names = json.load(sys.stdin)
print(json.dumps([[run(*command) for command in commands], dict(missing(names))]))
"""
RUN = (
    *("lm-eval", "run", "--model", "moe_hf", "--include_path", "tasks", "--tasks", "words"),
    *("--model_args", "pretrained=model,experts_k=2", "--output_path", "out.json"),
)
# The extra that installs what a module imports.
EXTRA_OF = {
    "altair": "report",
    "lm_eval": "lm-eval",
    "lmms_eval": "lmms-eval",
    "vllm": "vllm",
}


def run_alone(
    folder: Path,
    wheel_environment: WheelEnvironment,
    extra: str,
    commands: Iterable[tuple[str, ...]],
    modules: Iterable[str] = (),
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Run commands with an extra alone; return how they ended, and what modules lack."""
    python = make_closure_environment(folder / "env", wheel_environment, extra).python
    done = subprocess.run(
        [python, "-c", PROGRAM],
        cwd=folder,
        input=json.dumps([list(commands), list(modules)]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ended, missing = json.loads(done.stdout.splitlines()[-1])
    return ended, missing


def modules() -> dict[str, str]:
    """Map each module of the wheel to its path in the checkout."""
    return {
        packed.removesuffix(".py").removesuffix("/__init__").replace("/", "."): source
        for source, packed in shipped_files().items()
        if packed.endswith(".py") and not packed.endswith("__main__.py")
    }


def undeclared(missing: dict[str, str], extra: str) -> dict[str, str]:
    """Return the modules that lack a package which this extra, or none, should have installed.

    A module may lack another harness whose name is in its own, and what ``OPTIONAL`` says.
    """
    sources = modules()
    return {
        module: package
        for module, package in missing.items()
        if EXTRA_OF.get(package, extra) == extra
        or not (
            package in module
            or any(
                sources[module].startswith(start) and EXTRA_OF[package] == needed
                for start, needed in OPTIONAL.items()
            )
        )
    }


def checks_of(ended: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the checks that `moe-eval doctor --json` printed, by name."""
    return {check["name"]: check for check in json.loads(ended["out"])}


def test_a_verified_k_with_lm_eval_alone(
    wheel_environment: WheelEnvironment, empty_folder: Path
) -> None:
    save_olmoe(empty_folder / "model")
    (empty_folder / "tasks").mkdir()
    write_tasks(empty_folder / "tasks")
    (doctor, demo, run), missing = run_alone(
        empty_folder,
        wheel_environment,
        "lm-eval",
        [("doctor", "--json"), ("demo",), RUN],
        modules(),
    )

    assert doctor["code"] == 0, doctor
    checks = checks_of(doctor)
    assert checks["lm-eval"]["status"] == checks["lm-eval plugin"]["status"] == "ok"
    assert checks["lmms-eval"]["detail"].startswith("not installed (optional")
    assert demo["code"] == 2
    assert 'pip install "moe-eval-plugin[lmms-eval]"' in demo["err"]
    assert run["code"] == 0, run["err"]
    (path,) = empty_folder.glob("out_*.json")
    found = json.loads(path.read_text("utf-8"))
    assert found["results"]["words"]["observed_num_experts_per_tok,none"] == 2
    assert found["moe_eval"]["words"]["experts"]["baseline"] == 4
    assert "lmms-eval" not in found["moe_eval"]["words"]["provenance"]["versions"]
    assert undeclared(missing, "lm-eval") == {}


def test_everything_but_lm_eval_works_with_lmms_eval_alone(
    wheel_environment: WheelEnvironment, empty_folder: Path
) -> None:
    (doctor, lm_eval, tasks), missing = run_alone(
        empty_folder,
        wheel_environment,
        "lmms-eval",
        [("doctor", "--json"), ("lm-eval", "run", "--tasks", "arc_easy"), ("tasks", "--all")],
        modules(),
    )

    assert doctor["code"] == 0, doctor
    checks = checks_of(doctor)
    assert checks["lmms-eval"]["status"] == checks["lmms-eval plugin"]["status"] == "ok"
    assert checks["lm-eval"]["detail"].startswith("not installed (optional")
    assert lm_eval["code"] == 2
    assert 'pip install "moe-eval-plugin[lm-eval]"' in lm_eval["err"]
    assert {"easy_vqa", "mmmu_val"} <= {*tasks["out"].split()}
    assert tasks["heavy"] == []
    assert undeclared(missing, "lmms-eval") == {}


def test_finished_runs_are_read_without_any_harness(
    wheel_environment: WheelEnvironment, empty_folder: Path, repository_root: Path
) -> None:
    old = repository_root / "tests" / "data" / "before_0_2"
    refused = {
        ("demo",): "lmms-eval",
        ("sweep", "-a", "pretrained=demo", "-t", "easy_vqa", "-o", "new"): "lmms-eval",
        ("tasks", "--all"): "lmms-eval",
        ("lm-eval", "ls", "tasks"): "lm-eval",
        ("reproduce", str(old / "sweep.tar.gz")): "lmms-eval",
    }
    served = (
        ("inspect", "demo"),
        ("tasks",),
        ("tasks-path",),
        ("compare", str(old / "sweep")),
        ("export", "--format", "markdown", str(old / "sweep"), "--output", "export"),
        ("report", str(old / "sweep"), "--output", "page.html"),
    )
    ended, _ = run_alone(
        empty_folder, wheel_environment, "report", [*refused, *served, ("doctor", "--json")]
    )

    for (command, extra), run in zip(refused.items(), ended, strict=False):
        assert run["code"] == 2, (command, run)
        assert f'pip install "moe-eval-plugin[{extra}]"' in run["err"]
        assert len(run["err"].splitlines()) == 1
        assert run["heavy"] == []
    for command, run in zip(served, ended[len(refused) :], strict=False):
        assert run["code"] == 0, (command, run)
    assert ended[-1]["code"] == 1
    assert checks_of(ended[-1])["harness"]["status"] == "fail"
