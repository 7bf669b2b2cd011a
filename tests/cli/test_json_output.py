"""Each verb prints with ``--json`` what the reference documents, and nothing else."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.answer.answer import Answer
from tests.cli.json_docs import PAGE, checked_json, documented
from tests.cli.programs import moe_eval
from tests.cli.verbs import VERBS
from tests.conversion.checkpoints import unpack
from tests.publish.bundle.finished_sweeps import results_of, write_sweep
from tests.report.report_runs import right, wrong_every

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT = {("completion",), ("convert",), ("data",), ("lm-eval",), ("schedule",)}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("sweep") / "demo", {8: right, 4: wrong_every(5)})


def test_every_verb_has_the_option_and_a_section() -> None:
    text = PAGE.read_text("utf-8")
    for verb in VERBS:
        if verb not in WITHOUT:
            assert f"## `moe-eval {' '.join(verb)} --json`" in text
            assert "--json" in moe_eval(*verb, "--help").stdout


def test_a_compared_sweep(sweep: Path) -> None:
    run = moe_eval("compare", sweep, "--json")
    assert checked_json("a compared sweep", run.stdout)


def test_two_compared_runs(sweep: Path) -> None:
    run = moe_eval("compare", results_of(sweep, "k8"), results_of(sweep, "k4"), "--json")
    assert checked_json("a comparison", run.stdout)


def test_an_export_and_the_formats(sweep: Path, tmp_path: Path) -> None:
    run = moe_eval("export", "--format", "csv", sweep, "--output", tmp_path, "--json")
    found = checked_json("export", run.stdout)
    assert all(tmp_path in type(tmp_path)(path).parents for path in found["files"])
    for arguments in (["--format", "list"], ["--format"]):
        assert '"formats"' in moe_eval("export", *arguments, "--json").stdout


def test_an_answer_has_the_documented_fields() -> None:
    assert {field.name for field in fields(Answer)} == documented("an answer")


def test_a_conversion(tmp_path: Path) -> None:
    run = unpack("0.16.1", tmp_path / "run")
    ended = moe_eval("convert", "flame-moe", run, tmp_path / "model", "--json")
    found = checked_json("convert flame-moe", ended.stdout)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {*found["files"]}


@pytest.mark.parametrize("arguments", [("tasks",), ("tasks-path",), ("data", "check", ".")])
def test_verbs_that_read_no_run(arguments: tuple[str, ...], tmp_path: Path) -> None:
    run = moe_eval(*arguments, "--json", cwd=tmp_path)
    assert checked_json(" ".join(part for part in arguments if part != "."), run.stdout)
