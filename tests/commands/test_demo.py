"""``moe-eval demo``: what is shown first and last, and what happens to earlier results."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.cli import build_parser
from moe_eval_plugin.commands import browser, demo, sweep
from moe_eval_plugin.errors import MissingDependencyError
from moe_eval_plugin.sweeps.manifest import Manifest
from tests.cli.programs import moe_eval

if TYPE_CHECKING:
    from pathlib import Path

FIRST_LINE = """
import sys
from moe_eval_plugin.cli import main
from moe_eval_plugin.commands.status import Status

def write(self, text, stream=None):
    print(text)
    print([name for name in ("torch", "transformers", "lmms_eval", "numpy") if name in sys.modules])
    sys.exit()

Status.write = write
main(["demo"])
"""


def test_the_first_line_comes_before_anything_heavy_is_imported() -> None:
    program = [sys.executable, "-c", FIRST_LINE]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    first, loaded = ended.stdout.splitlines()
    assert first.startswith("moe-eval demo: a model of 2 million parameters answers 2,000")
    assert loaded == "[]"


def test_the_demo_ends_with_its_answer_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("demo", "--limit", "24", "--output", "first", "--speed-budget", "0.1")

    def no_report(*_: object) -> None:
        message = "A report needs altair"
        raise MissingDependencyError(message)

    with monkeypatch.context() as patched:
        patched.setattr("moe_eval_plugin.report.build.build", no_report)
        without = moe_eval(*arguments, cwd=tmp_path)

    assert without.returncode == 0, without.stderr
    lines = without.stdout.splitlines()
    of_k = [line for line in lines if "verified: " in line]
    assert [line.split()[0] for line in of_k] == ["k=8", "k=4", "k=2", "k=1"]
    assert of_k[1].endswith("verified: 4 of 32 experts in 4 of 4 layers")
    assert "Speed of requests, easy_vqa" in without.stdout
    assert lines[-2:] == [f"Report: {demo.NO_PAGE}", f"Next: {demo.NEXT}"]
    assert any(line.startswith("Smoke test: 24 questions") for line in lines)

    pytest.importorskip("altair", reason="the extra report is not installed")
    page = tmp_path / "first" / "report.html"
    again = moe_eval(*arguments, "--json", cwd=tmp_path)
    assert "4 of 4 settings were done already." in again.stderr
    found = json.loads(again.stdout)
    assert found["page"] == str(page)
    assert "<title>" in page.read_text("utf-8")
    assert found["answers"][0]["headline"] == "Smoke test: no conclusion"
    assert found["timed_passes"][0]["batch_size"] == demo.TIMED_BATCH_SIZE

    # Another number of questions: the results are its own, so they are moved aside.
    assert demo.demo_request(tmp_path / "first", 25).restart


def test_the_demo_is_the_sweep_that_it_records(tmp_path: Path) -> None:
    request = demo.demo_request(tmp_path, 100)
    options = build_parser().parse_args(request.command[1:])
    options.command = request.command
    (by_hand,) = sweep._requests(options)
    same = replace(by_hand, axes=request.axes)
    assert same == request
    assert tuple(by_hand.axes.schedules) == tuple(request.axes.schedules)


def test_results_of_another_sweep_are_not_moved_aside(tmp_path: Path) -> None:
    Manifest(tmp_path, {}, command=("moe-eval", "sweep")).save()
    assert not demo.demo_request(tmp_path, 100).restart


def test_an_interrupted_demo_says_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("moe_eval_plugin.api.sweeping.ready.check_model", interrupted)
    run = moe_eval("demo", "--output", tmp_path / "first")
    assert run.returncode == 130
    assert run.stderr.splitlines()[-1].startswith("Interrupted. No question was asked yet")


@pytest.mark.parametrize(
    ("variables", "is_terminal", "is_opened"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({}, True, False),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ":0", "CI": "true"}, True, False),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, True, False),
    ],
)
def test_a_page_is_opened_where_a_person_can_see_it(
    variables: dict[str, str],
    is_terminal: bool,
    is_opened: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    for name in (*browser.SCREENS, *browser.NOBODY_WATCHES):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    page = tmp_path / "report.html"
    assert browser.open_page(page) == is_opened
    assert opened == [page.as_uri()] * is_opened
