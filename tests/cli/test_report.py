"""The command makes a page of real runs of the embedded model, and says what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.cli import main
from tests.cli.json_docs import checked_json
from tests.cli.programs import lmms_eval, moe_eval
from tests.report.report_runs import write_other_run, write_run, write_sweep, wrong_every
from tests.results.timing.timed_files import around

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

if TYPE_CHECKING:
    from pathlib import Path


def test_a_report_of_real_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    for k in (8, 1):
        done = lmms_eval(
            *("--model", "moe_hf", "--model_args", f"pretrained=demo,experts_k={k}"),
            *("--tasks", "easy_vqa", "--limit", "16", "--batch_size", "16", "--log_samples"),
            *("--output_path", runs / f"k{k}"),
        )
        assert done.returncode == 0, done.stderr[-3000:]

    assert main(["report", str(runs)]) == 0

    page = (runs / "report.html").read_text("utf-8")
    said = " ".join(capsys.readouterr().out.split())
    assert f"Report: {runs / 'report.html'} (" in said
    assert said.endswith(f"Next: moe-eval bundle {runs}")
    assert "Observed k is exactly the requested one in each of the 4 MoE layers" in page
    assert "--model_args pretrained=demo,experts_k=1 --tasks easy_vqa" in page
    table = (runs / "report_files" / "table.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[2] for line in table] == ["setting", "k=8", "k=1"]


def test_the_report_lies_where_the_runs_have_their_common_folder(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "k8", 8)
    write_other_run(tmp_path / "b")

    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b")]) == 0

    assert (tmp_path / "report.html").is_file()


def test_what_was_found_is_printed_before_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {8: wrong_every(10), 4: wrong_every(10), 1: wrong_every(2)}
    seconds = {"k8": around(4), "k4": around(2), "k1": around(1)}
    write_sweep(tmp_path, answers, seconds)

    paper = tmp_path / "paper"
    gate = ("--fail-if", "loss(k=1) > 5", "--fail-unless", "loss(k=4) < 5")
    report = ["report", str(tmp_path), "--within", "5", "--paper", str(paper)]
    assert main([*report, *gate]) == 1

    said = " ".join(capsys.readouterr().out.split())
    assert (paper / "table.tex").is_file()
    assert 'Failed: --fail-if "loss(k=1) > 5" is shown: the loss of k=1 is 4' in said
    assert 'Passed: --fail-unless "loss(k=4) < 5" is shown: ' in said
    assert said.startswith("demo, easy_vqa: 200 questions on 200 images · batch size")
    parts = ("Within 5 points: k=4 (", "Loses more", "Recommended: k=4. It is 2.00×", "Report: ")
    assert sorted(parts, key=said.index) == [*parts]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert '<p class="headline">Use k=4 instead of 8</p>' in page
    assert "200 questions on 200 images · batch size" in page
    assert "smoke test</span>" not in page


def test_a_report_can_be_made_again_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, wrong_every(4))
    command = ["report", str(tmp_path), "--output", str(tmp_path / "mine.html"), "--title", "Mine"]

    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--json"]) == 0

    found = checked_json("report", capsys.readouterr().out)
    assert found["page"] == str(tmp_path / "mine.html")
    assert [one["task"] for one in found["answers"]] == ["easy_vqa"]
    page = (tmp_path / "mine.html").read_text("utf-8")
    assert "<h1>Mine</h1>" in page
    assert '<span class="badge">smoke test</span>' in page
    assert '<p class="headline">Smoke test: no conclusion</p>' in page
    assert "40 questions on 4 images" in page
    assert "timed once" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--within", "0"], "--within 0.0"),
        (["--within", "nan"], "--within: 'nan' is not a number"),
        (["--max-questions", "-1"], "--max-questions -1"),
        (["--output", "report.pdf"], "does not end in .html"),
        (["--task", "okvqa"], "Their tasks: easy_vqa"),
        (["--metric", "f1"], "score f1"),
        (["--bench", "missing.json"], "missing.json cannot be read"),
    ],
)
def test_what_cannot_be_served_is_refused_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    write_run(tmp_path / "k8", 8)

    done = moe_eval("report", tmp_path / "k8", *arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.rglob("*.html"))


def test_a_folder_without_runs_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2

    assert "holds no results files. Pass a results file (*_results.json" in capsys.readouterr().err
