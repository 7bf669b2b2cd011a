"""The page on common mistakes has what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin import cli
from moe_eval_plugin.sweeps.identity.fingerprint import version_settings
from moe_eval_plugin.sweeps.manifest import load_manifest
from tests.report.report_runs import write_sweep, wrong_every

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mistakes.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"\$ (.*)\n(.*(?:\n(?!\$).*)*)")


def examples() -> Iterator[tuple[str, str]]:
    """Yield each command of the page with what it prints."""
    for block in BLOCK.findall(PAGE.read_text("utf-8")):
        yield from COMMAND.findall(block.rstrip("\n"))


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
