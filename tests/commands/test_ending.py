"""The last lines of a command: the result, where it is, and the next command."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import answer_lines, answers, show_end, shown, sweep_command
from tests.report.report_runs import write_sweep, wrong_every
from tests.results.timing.timed_files import around

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WITHOUT_EXTRAS = """
import sys
for name in ("altair", "vl_convert", "jinja2", "pandas"):
    sys.modules[name] = None
from pathlib import Path
from moe_eval_plugin.commands.ending import answer_lines, answers
print(*answer_lines(answers(Path(sys.argv[1]))))
print({"torch", "transformers", "lmms_eval"} & {*sys.modules})
"""


def sweep(folder: Path) -> Path:
    wrong = {8: wrong_every(10), 4: wrong_every(10), 1: wrong_every(2)}
    return write_sweep(folder, wrong, {"k8": around(4), "k4": around(2), "k1": around(1)})


def test_the_verdict_of_a_sweep_needs_no_extra_and_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, sweep(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("Recommended: k=4. It is 2.00×"), done.stderr
    assert done.stdout.endswith("set()\n")


def test_a_folder_without_a_verdict_has_none(tmp_path: Path) -> None:
    assert answers(tmp_path) == []


def test_answers_are_named_by_what_they_differ_in(tmp_path: Path) -> None:
    (one,) = answers(sweep(tmp_path), 5.0)

    assert list(answer_lines([one])) == [one.sentence]
    (first, _) = answer_lines([one, one.__class__(**{**vars(one), "task": "okvqa"})])
    assert first == f"easy_vqa: {one.sentence}"


def test_paths_are_relative_and_quoted_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert shown(tmp_path / "runs" / "my sweep") == "'runs/my sweep'"
    assert shown(tmp_path.parent) == str(tmp_path.parent)
    show_end("k=4 is enough.", where="Results: out", following=sweep_command("a/b"))
    assert capsys.readouterr().out == (
        "k=4 is enough.\nResults: out\nNext: moe-eval sweep --model-args pretrained=a/b --tasks "
        "easy_vqa --output runs/b\n"
    )
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"model_type": "olmoe"}', "utf-8")
    assert sweep_command("text") == (
        "moe-eval sweep --host lm-eval --model-args pretrained=text --tasks arc_easy "
        "--output runs/text"
    )
