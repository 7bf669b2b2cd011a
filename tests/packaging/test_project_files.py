"""The project's files agree with each other: versions, commands, pins, layout of the package."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.wheel_env import known_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.wheel_env import WheelEnvironment

RELEASE_HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", re.MULTILINE)
MAKE_COMMAND = re.compile(r"\bmake ([a-z][a-z-]*)\b")
# Where a document shows code: between single backticks, or on a line of a block.
MAKE_CODE = re.compile(r"(?<!`)`[^`\n]+`(?!`)|^ *entry:.*|^make .*", re.MULTILINE)
TARGET = re.compile(r"^([a-z-]+):.*?(?:## (.+))?$", re.MULTILINE)
EXTRAS = {
    *("lm-eval", "lmms-eval", "vllm", "profile", "ray", "report", "slurm", "test", "dev"),
    *("wandb", "trackio", "mlflow"),
}
DOCUMENTS = ("README.md", "CONTRIBUTING.md", ".ci/run", ".pre-commit-config.yaml")


@pytest.fixture(scope="module")
def project(repository_root: Path) -> dict[str, Any]:
    return tomllib.loads((repository_root / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def targets(repository_root: Path) -> dict[str, str]:
    makefile = (repository_root / "Makefile").read_text("utf-8")
    return dict(TARGET.findall(makefile))


def test_changelog_opens_with_the_version_of_the_wheel(
    repository_root: Path, wheel_environment: WheelEnvironment
) -> None:
    changelog = (repository_root / "CHANGELOG.md").read_text("utf-8")
    (installed,) = importlib.metadata.distributions(
        name="moe-eval-plugin", path=[str(wheel_environment.site_packages)]
    )

    assert RELEASE_HEADING.findall(changelog)[0] == installed.version


def test_citation_names_the_latest_release(repository_root: Path, project: dict[str, Any]) -> None:
    citation = yaml.safe_load((repository_root / "CITATION.cff").read_text("utf-8"))
    changelog = (repository_root / "CHANGELOG.md").read_text("utf-8")

    assert citation["title"] == project["project"]["name"]
    assert citation["license"] == project["project"]["license"]
    assert citation["keywords"] == project["project"]["keywords"]
    assert citation["version"] == project["project"]["version"]
    released = f"## [{citation['version']}] - {citation['date-released']}"
    assert released in changelog.splitlines()


def test_citation_has_what_its_format_asks_for(
    repository_root: Path, project: dict[str, Any]
) -> None:
    citation = yaml.safe_load((repository_root / "CITATION.cff").read_text("utf-8"))

    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["message"]
    assert citation["authors"] == [
        {"name": author["name"]} for author in project["project"]["authors"]
    ]


def test_extras_are_those_that_the_documents_name(project: dict[str, Any]) -> None:
    assert set(project["project"]["optional-dependencies"]) == EXTRAS


def test_packages_are_listed_by_name(project: dict[str, Any]) -> None:
    settings = project["tool"]["setuptools"]
    mapping = settings["package-dir"]
    folders = {
        name.rpartition("/")[0]
        for name in known_files()
        if name.endswith("/__init__.py") and not name.startswith(("tests/", "docs/"))
    }

    listed = {mapping.get(package, package.replace(".", "/")) for package in settings["packages"]}

    assert listed == folders


def test_every_direct_dependency_is_pinned_to_a_version_that_it_allows(
    project: dict[str, Any], repository_root: Path
) -> None:
    text = (repository_root / "requirements" / "constraints.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pins = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    extras = project["project"]["optional-dependencies"]
    wanted = [
        Requirement(text)
        for text in [*project["project"]["dependencies"], *extras["test"], *extras["dev"]]
        if not text.startswith("moe-eval-plugin")
    ]

    assert pins["lmms-eval"].specifier == "==0.7.3"
    for requirement in wanted:
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), requirement


def test_every_make_target_explains_itself(targets: dict[str, str]) -> None:
    assert {"check", "demo", "help", "test"} <= set(targets)
    assert [name for name, explanation in targets.items() if not explanation] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_real_make_targets(
    document: str, repository_root: Path, targets: dict[str, str]
) -> None:
    text = (repository_root / document).read_text("utf-8")
    code = MAKE_CODE.findall(text)

    named = {name for part in code for name in MAKE_COMMAND.findall(part)}

    assert named
    assert named <= set(targets)


def test_readme_opens_with_the_demo_and_then_a_command_of_the_host(repository_root: Path) -> None:
    readme = (repository_root / "README.md").read_text("utf-8")

    first, second, third = readme.split("```")[1:6:2]
    demo_output = readme.split("<!-- demo-output:start -->")[1]

    assert "make demo" in first
    assert '\npip install ".[lmms-eval,report]"' in second
    assert "\nmoe-eval demo" in third
    assert readme.index("first-screen.png") < readme.index("```")
    assert readme.count("<!-- demo-output:") == 2
    assert "verified: 8 of 32 experts" in demo_output.split("<!-- demo-output:end -->")[0]
    own = readme.partition("\nlmms-eval --model moe_hf")[2].partition("```")[0]
    assert "pretrained=demo,experts_k=4 \\\n  --tasks easy_vqa --batch_size 16" in own


def test_make_demo_installs_the_harness_and_what_the_report_needs_alone(
    repository_root: Path,
) -> None:
    always = ("--no-print-directory", "--always-make", "--dry-run")
    plan = subprocess.run(
        ["make", *always, "demo"],  # noqa: S607  (found on the PATH)
        cwd=repository_root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert plan.splitlines()[-1] == ".venv/bin/moe-eval demo"
    (installed,) = re.findall(r"--editable '(.+)'", plan)
    assert installed == ".[lmms-eval,report]"
    assert "pip install --quiet" not in plan


def test_ci_runs_make_test(repository_root: Path) -> None:
    script = repository_root / ".ci" / "run"

    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text("utf-8")
    assert script.read_text("utf-8").splitlines()[-1] == "make test"


def test_the_workflow_makes_what_make_test_makes(repository_root: Path) -> None:
    workflow = yaml.safe_load(
        (repository_root / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    )
    makefile = (repository_root / "Makefile").read_text("utf-8")
    job = workflow["jobs"]["make"]
    recipe = re.findall(r"^test:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[0]

    made = {word for word in recipe.split() if re.fullmatch(r"[a-z][a-z-]*", word)}

    assert {step["run"] for step in job["steps"] if "run" in step} == {"make ${{ matrix.target }}"}
    jobs = {one for one in made if not one.endswith("-env")}
    assert set(job["strategy"]["matrix"]["target"]) == jobs
