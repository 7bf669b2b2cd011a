"""The page on common mistakes has what the commands print."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from moe_eval_plugin import cli
from moe_eval_plugin.sweeps.identity.fingerprint import version_settings
from moe_eval_plugin.sweeps.manifest import load_manifest
from tests.report.report_runs import write_sweep, wrong_every

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mistakes.md"


def examples() -> Iterator[tuple[str, str]]:
    """Yield each command of the page with the message below it."""
    fences = [one for one in MarkdownIt("commonmark").parse(PAGE.read_text("utf-8")) if one.info]
    for command, printed in pairwise(fences):
        if command.info == "console":
            assert printed.info == "text", f"no message below {command.content}"
            yield command.content.replace("\\\n", " ").strip(), printed.content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page's reader is."""
    path = tmp_path_factory.mktemp("mistakes")
    first = write_sweep(path / "runs" / "mine", {k: wrong_every(10) for k in (8, 4, 1)})
    manifest = load_manifest(first)
    assert manifest is not None
    given = {"model": "moe_hf", "model_args": "pretrained=demo", "tasks": "easy_vqa"}
    manifest.settings = {
        **given,
        "limit": 200,
        "batch_size": "auto",
        **version_settings("lmms-eval"),
    }
    manifest.save()
    (path / "runs" / "empty").mkdir()
    (path / "notes.txt").write_text("notes")
    return path


def test_the_page_has_examples() -> None:
    assert len(list(examples())) >= 20


@pytest.mark.parametrize(("command", "printed"), list(examples()))
def test_a_mistake_prints_what_the_page_says(
    command: str,
    printed: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    words = shlex.split(command)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    before = sorted((folder / "runs").iterdir())
    assert words.pop(0) == "moe-eval"
    try:
        code: object = cli.main(words)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    pattern = r".*?".join(map(re.escape, " ".join(printed.split()).split("...")))
    assert code == 2
    assert re.fullmatch(pattern, " ".join(said.err.split())), said.err
    assert said.out == ""
    assert sorted((folder / "runs").iterdir()) == before


def test_no_mistake_waits_for_pytorch(folder: Path) -> None:
    program = (
        "import contextlib, json, sys\n"
        "from moe_eval_plugin import cli\n"
        "for words in json.load(sys.stdin):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        cli.main(words)\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    commands = [shlex.split(command) for command, _ in examples()]
    given = [words[words.index("moe-eval") + 1 :] for words in commands if "=" not in words[0]]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(given),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
