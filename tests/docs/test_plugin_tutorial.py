"""The tutorial for plugins, from its empty folder to its last command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "write-a-plugin.md"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# The line above a block says what is done with it.
FILE = re.compile(r"(?P<verb>Create|Add to) `(?P<name>[^`]+)`:\n\n\Z")
RUN = re.compile(
    r"<!-- not run: run by tests/docs/test_plugin_tutorial\.py(, ends with (\d))? -->\n\Z"
)
NUMBER = re.compile(r"[-+−]?\d+(\.\d+)?|…")
# Installs the package in the current folder without pip: its metadata, from pyproject.toml.
PIP = """\
#!{python}
import sys, tomllib
from pathlib import Path

assert sys.argv[1:] == ["install", "-e", "."], sys.argv
content = tomllib.loads(Path("pyproject.toml").read_text())
name, version = content["project"]["name"], content["project"]["version"]
info = Path({site!r}) / f"{{name.replace('-', '_')}}-{{version}}.dist-info"
info.mkdir(parents=True)
(info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n")
lines = []
for group, entries in content["project"]["entry-points"].items():
    lines += [f"[{{group}}]", *(f"{{key}} = {{value}}" for key, value in entries.items())]
(info / "entry_points.txt").write_text("\\n".join(lines))
"""


@dataclass
class Tutorial:
    """A reader's machine: a folder, an environment, and what the commands printed."""

    folder: Path
    shown: str = ""

    @property
    def package(self) -> Path:
        """The folder in which the reader works, once it is there."""
        made = self.folder / "work" / "my-plugin"
        return made if made.exists() else made.parent

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables of the reader's shell, with a ``pip`` that needs no network."""
        site, programs = self.folder / "site", self.folder / "bin"
        programs.mkdir()
        (programs / "pip").write_text(PIP.format(python=sys.executable, site=str(site)))
        (programs / "pip").chmod(0o755)
        path = (programs, Path(sys.executable).parent, os.environ["PATH"])
        source = self.folder / "work" / "my-plugin" / "src"
        return {
            **os.environ,
            "PATH": os.pathsep.join(map(str, path)),
            "PYTHONPATH": f"{site}{os.pathsep}{source}",
            "COLUMNS": "80",
        }

    def write(self, verb: str, name: str, text: str) -> None:
        """Create a file, or add a part to it."""
        file = self.package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        before = "" if verb == "Create" else file.read_text(encoding="utf-8").rstrip("\n")
        assert bool(before) == (verb == "Add to"), f"{verb} {name}"
        file.write_text(f"{before}\n\n\n{text}".lstrip("\n"), encoding="utf-8")

    def run(self, commands: str, ending: int) -> None:
        """Run a block, and keep what it prints."""
        done = subprocess.run(
            ["/bin/bash", "-ec", commands],
            cwd=self.package,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == ending, f"{commands}\n{done.stdout}\n{done.stderr[-3000:]}"
        self.shown = done.stdout + "".join(
            file.read_text(encoding="utf-8") for file in sorted(self.package.glob("tables/*.csv"))
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    """Do what the page says, and compare what it shows with what is printed."""
    tutorial = Tutorial(tmp_path_factory.mktemp("tutorial"))
    tutorial.package.mkdir(parents=True)
    page = PAGE.read_text(encoding="utf-8")
    for block in BLOCK.finditer(page):
        above, language, text = page[: block.start()], block["language"], block["text"]
        if language == "text":
            printed = set(map(masked, tutorial.shown.splitlines()))
            missing = [one for one in text.splitlines() if masked(one) not in printed]
            assert not missing, f"not printed: {missing}\n{tutorial.shown}"
        elif language == "console":
            mark = RUN.search(above)
            assert mark, f"no mark above\n{text}"
            tutorial.run(text, int(mark[2] or 0))
        else:
            named = FILE.search(above)
            assert named, f"no file for\n{text}"
            tutorial.write(named["verb"], named["name"], text)
    return tutorial


def masked(line: str) -> str:
    """Return a line without what differs between machines: numbers and spaces."""
    return re.sub(r"\s+", "", NUMBER.sub("0", line))


def test_the_plugin_of_the_page_can_be_published(finished: Tutorial) -> None:
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", "made")
    command = [sys.executable, "-m", "pip", "wheel", *options, "."]
    subprocess.run(command, check=True, cwd=finished.package)
    (wheel,) = (finished.package / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (points,) = [name for name in names if name.endswith("entry_points.txt")]
        declared = archive.read(points).decode()
    assert "my_plugin/tasks/easy_vqa_polite.yaml" in names
    content = tomllib.loads((finished.package / "pyproject.toml").read_text(encoding="utf-8"))
    ((group, entries),) = content["project"]["entry-points"].items()
    assert declared.split() == [f"[{group}]", "my_plugin", "=", "my_plugin"]
    assert entries == {"my_plugin": "my_plugin"}


def test_every_hook_of_the_page_is_one() -> None:
    from moe_eval_plugin.plugins import hookspecs

    defined = re.findall(r"^def (moe_eval_\w+)\(", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(defined) >= 5
    assert set(defined) <= set(vars(hookspecs))
