"""The documentation agrees with the program: its commands, its arguments, its links."""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import fields
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.cli import build_parser
from tests.cli.verbs import VERBS
from tests.docs.extensions import built, extension
from tests.packaging.wheel_env import known_files, shipped_files

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

LINK = re.compile(r"\[[^\]]*\]\((?!https?://)([^)#\s]+)")
CODE = re.compile(r"`(\w+)`")
PATH = re.compile(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:cff|md|py|toml))`")
GENERATED = (".venv/", "build/", "dist/", "runs/")
VARIABLE = re.compile(r"\bMOE_EVAL_[A-Z_]+[A-Z]\b")


@pytest.fixture
def command_help(repository_root: Path) -> ModuleType:
    return extension("command_help", repository_root)


@pytest.fixture
def options_table(repository_root: Path) -> ModuleType:
    return extension("options_table", repository_root)


def test_reference_shows_the_help_of_every_command(command_help: ModuleType) -> None:
    texts = command_help.help_texts(build_parser())

    assert set(texts) == {
        "moe-eval",
        *(f"moe-eval {' '.join(verb)}" for verb in VERBS),
    }
    assert all(f"\n  {verb[0]}  " in texts["moe-eval"] for verb in VERBS)
    assert "--trust-remote-code" in texts["moe-eval inspect"]


def test_help_in_the_reference_does_not_depend_on_the_terminal(
    command_help: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = command_help.help_texts(build_parser())
    monkeypatch.setenv("COLUMNS", "40")

    assert command_help.help_texts(build_parser()) == before


@pytest.mark.usefixtures("command_help")
def test_each_option_of_a_command_has_an_anchor_in_the_reference(tmp_path: Path) -> None:
    (tmp_path / "commands.md").write_text("# Commands\n\n```{command-help}\n```\n", "utf-8")
    out = built(tmp_path, "command_help", first="commands")

    html = (out / "commands.html").read_text("utf-8")
    assert html.count('id="sweep-experts-k"') == html.count('href="#sweep-experts-k"') == 1
    assert html.count('id="data-check-folder"') == 1
    # Options of a command that has no groups of its own are there too.
    assert html.count('id="inspect-context"') == html.count('id="export-format"') == 1
    assert 'href="#moe-eval-schedule-export"' in html
    # What every command has is shown once.
    assert html.count("--no-progress</span>") == 1
    assert 'href="#moe-eval-sweep"' in html
    assert "use --experts-k" in html


def test_command_page_uses_the_directive(repository_root: Path) -> None:
    page = (repository_root / "docs" / "reference" / "command-line.md").read_text("utf-8")

    assert "```{command-help}" in page


@pytest.mark.parametrize("name", [name for name in known_files() if name.endswith(".md")])
def test_links_between_files_lead_somewhere(name: str, repository_root: Path) -> None:
    page = repository_root / name

    links = LINK.findall(page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_paths_that_are_named_exist(document: str, repository_root: Path) -> None:
    text = (repository_root / document).read_text("utf-8")
    files = known_files()
    folders = {f"{parent}/" for name in files for parent in PurePath(name).parents}

    named = [path for path in PATH.findall(text) if not path.startswith(GENERATED)]

    assert named
    assert [
        path for path in named if path not in files and f"{path.rstrip('/')}/" not in folders
    ] == []


def test_architecture_shows_the_layers_of_the_import_rules(repository_root: Path) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text("utf-8"))
    (layers,) = [
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    page = (repository_root / "ARCHITECTURE.md").read_text("utf-8")

    shown = page.partition("```text\n")[2].partition("\n```")[0]

    assert shown.splitlines() == layers


def test_architecture_lists_every_package(repository_root: Path) -> None:
    page = (repository_root / "ARCHITECTURE.md").read_text("utf-8")
    packages = {
        name.removesuffix("__init__.py")
        for name in shipped_files()
        if re.fullmatch(r"moe_eval_plugin/\w+/__init__\.py|\w+/__init__\.py", name)
    } - {"moe_eval_plugin/"}

    listed = set(re.findall(r"^\| `([\w/]+/)` \|", page, re.MULTILINE)) - {"tests/"}

    assert listed == packages


def test_every_option_of_the_models_is_in_the_reference_with_a_meaning(
    options_table: ModuleType,
) -> None:
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.hosts.run_options import RunOptions
    from moe_eval_plugin.model_adapters.lm_eval_hf_arguments import OURS
    from moe_eval_plugin.model_adapters.vllm_arguments import RUN_OPTIONS

    hf, vllm = (options_table.options_of_model(model) for model in ("moe_hf", "moe_vllm"))

    assert [option.name for option in hf] == [
        field.name for options in (EngineOptions, RunOptions) for field in fields(options)
    ]
    assert {option.name for option in vllm} == {
        field.name for field in fields(VLLMOptions) if field.name != "engine"
    } | {*RUN_OPTIONS}
    assert all(option.meaning and option.default for option in (*hf, *vllm))

    in_lm_eval = options_table.options_of_model("lm_eval_moe_hf")

    assert {option.name for option in in_lm_eval} == {*OURS, "pretrained", "device"}


def test_defaults_in_the_reference_are_those_of_the_code(options_table: ModuleType) -> None:
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.hosts.run_options import RunOptions

    options = [EngineOptions, RunOptions, VLLMOptions]
    values = {field.name: field.default for option in options for field in fields(option)}
    known = {name for name, value in values.items() if isinstance(value, str | int)}
    models = ("moe_hf", "moe_vllm", "lm_eval_moe_hf")
    tables = [options_table.options_of_model(model) for model in models]

    wrong = [
        option
        for option in itertools.chain(*tables)
        if option.name in known and f"``{str(values[option.name]).lower()}``" not in option.default
    ]

    assert wrong == []


def test_an_option_without_a_docstring_fails_the_build(options_table: ModuleType) -> None:
    with pytest.raises(ValueError, match="docstring below name is not"):
        options_table.options_of(options_table.Option)


def test_options_are_listed_with_an_anchor_each(
    options_table: ModuleType, tmp_path: Path, repository_root: Path
) -> None:
    models = {"moe-hf": "moe_hf", "moe-vllm": "moe_vllm"}
    for page, model in models.items():
        source = (repository_root / "docs" / "reference" / f"{page}.md").read_text("utf-8")
        directive = f"```{{options-table}} {model}\n```"
        assert directive in source
        (tmp_path / f"{page}.md").write_text(
            f"---\norphan: true\n---\n# {page}\n\n{directive}\n", "utf-8"
        )
    out = built(tmp_path, "options_table", first="moe-hf")

    for page, model in models.items():
        html = (out / f"{page}.html").read_text("utf-8")
        names = {option.name for option in options_table.options_of_model(model)}
        items = re.findall(r'<dt id="([\w-]+)">', html)
        assert set(items) == {f"{page}-{name.replace('_', '-')}" for name in names}
        assert all(html.count(f'href="#{item}"') == 1 for item in items)


def test_reference_lists_every_environment_variable(repository_root: Path) -> None:
    sources = [name for name in shipped_files() if name.endswith(".py")]
    used = {
        name
        for source in sources
        for name in VARIABLE.findall((repository_root / source).read_text("utf-8"))
    }
    page = (repository_root / "docs" / "reference" / "environment.md").read_text("utf-8")

    documented = set(re.findall(r"^\| `(MOE_EVAL_\w+)`", page, re.MULTILINE))

    assert documented == used


def test_reference_lists_every_task(repository_root: Path) -> None:
    definitions = sorted((repository_root / "tasks").glob("*/[!_]*.yaml"))
    names = {
        name
        for path in definitions
        for name in re.findall(r"^(?:task|group): (\w+)$", path.read_text("utf-8"), re.MULTILINE)
    }
    page = (repository_root / "docs" / "reference" / "tasks.md").read_text("utf-8")

    listed = {
        name
        for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)
        for name in CODE.findall(row)
    }

    assert names == {path.stem for path in definitions}
    assert names <= listed


def test_the_page_of_traps_lists_every_trap(repository_root: Path) -> None:
    tests = (repository_root / "tests" / "traps" / "test_traps.py").read_text("utf-8")
    page = (repository_root / "docs" / "explanation" / "traps.md").read_text("utf-8")

    traps = re.findall(r"^def test_(\w+)", tests, re.MULTILINE)

    assert re.findall(r"^\| `(\w+)`", page, re.MULTILINE) == traps
