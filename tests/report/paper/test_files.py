"""A folder for a paper: all files or none, figures of one column, and sources as far as known."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

for name in ("altair", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.errors import DataError, InvalidArgumentError  # noqa: E402
from moe_eval_plugin.report.analysis.statistics import compute  # noqa: E402
from moe_eval_plugin.report.paper import citation  # noqa: E402
from moe_eval_plugin.report.paper.files import (  # noqa: E402
    OVER_K,
    TRADE_OFF,
    check_paper_folder,
    paper_files,
    write_paper,
)
from moe_eval_plugin.report.read_series import read_series  # noqa: E402
from tests.report.paper.latex_check import check_latex  # noqa: E402
from tests.report.report_runs import right, write_run, wrong_every  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Figure


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[SeriesStatistics]:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "k8", 8, right, pretrained="an-owner/a_model")
    write_run(folder / "k4", 4, wrong_every(5), rate=15, pretrained="an-owner/a_model")
    return [compute(one, 1.0) for one in read_series([folder])]


@pytest.fixture(scope="module")
def files(series: list[SeriesStatistics]) -> dict[str, bytes]:
    return paper_files(series)


def test_there_are_a_table_a_caption_citations_and_figures(files: dict[str, bytes]) -> None:
    assert set(files) >= {"table.tex", "caption.txt", "cite.bib", "accuracy-over-k.pdf"}
    check_latex(files["table.tex"].decode())
    assert b"95%" in files["caption.txt"]


def test_figures_are_vectors_as_wide_as_a_column(files: dict[str, bytes]) -> None:
    pdfs = {name: data for name, data in files.items() if name.endswith(".pdf")}

    assert pdfs
    for name, data in pdfs.items():
        (width,) = {float(one) for one in re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ", data)}
        svg = files[name.replace(".pdf", ".svg")].decode()
        assert width / 72 == pytest.approx(3.3, abs=0.01)
        assert re.search(r'width="3\.(29|30)\d*in"', svg)
        assert b"/Subtype /Image" not in data
        assert b"LiberationSans" in data
        assert "<image" not in svg
        assert "Accuracy against" not in re.sub(r'aria-label="[^"]*"', "", svg)


def test_figures_of_several_models_and_tasks_are_named_after_their_task(
    series: list[SeriesStatistics], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def draw(figure: Figure) -> dict[str, bytes]:
        drawn.append(figure.description)
        return {".pdf": b""}

    monkeypatch.setattr("moe_eval_plugin.report.paper.files.draw", draw)
    (one,) = series
    several = [
        replace(one, series=replace(one.series, name=name, task=task, id=letter))
        for letter, name in (("A", "first"), ("B", "second"))
        for task in ("a", "b")
    ]

    names = [name for name in paper_files(several) if name.endswith(".pdf")]

    figures = (f"{TRADE_OFF}-A", f"{TRADE_OFF}-B", OVER_K)
    assert names == [f"{task}-{name}.pdf" for task in ("a", "b") for name in figures]
    assert len(drawn) == len(names)


def test_the_software_is_cited_as_in_its_citation_file(
    files: dict[str, bytes], repository_root: Path
) -> None:
    facts = yaml.safe_load((repository_root / "CITATION.cff").read_text("utf-8"))
    text = files["cite.bib"].decode()

    assert facts["title"] == citation.TITLE
    assert facts["authors"] == [{"name": citation.AUTHOR}]
    assert facts["date-released"].year == citation.YEAR
    assert f"Version {facts['version']}" in text
    assert text.count("{") == text.count("}")
    assert r"\url{https://huggingface.co/an-owner/a_model}" in text
    assert r"title = {{an-owner/a\_model}}" in text
    assert "@misc{easy-vqa," in text


def test_the_host_that_asked_the_questions_is_cited(series: list[SeriesStatistics]) -> None:
    (one,) = series
    point, *others = one.series.points
    first, *more = point.runs
    of_lm_eval = replace(first, facts=replace(first.facts, host="lm-eval"))
    points = (replace(point, runs=(of_lm_eval, *more)), *others)
    both = [one, replace(one, series=replace(one.series, points=points))]

    found = re.findall(r"^@misc\{(.*),", citation.bibliography(both[1:]), re.MULTILINE)
    assert "eval-harness" in found
    assert "lmms-eval" not in found
    assert "lmms-eval" in citation.bibliography(both)
    assert citation.bibliography(both).count("{") == citation.bibliography(both).count("}")


def test_files_are_written_again_but_those_of_others_are_not(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    check_paper_folder(tmp_path / "new")
    (tmp_path / "cite.bib").write_text("@book{mine,}")
    with pytest.raises(InvalidArgumentError, match=r"has cite\.bib.*--force"):
        check_paper_folder(tmp_path)
    check_paper_folder(tmp_path, force=True)

    write_paper(files, tmp_path / "new")

    check_paper_folder(tmp_path / "new")
    assert {one.name for one in (tmp_path / "new").iterdir()} == set(files)


def test_a_folder_that_cannot_be_written_is_left_as_it_was(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "table.tex").mkdir()

    with pytest.raises(DataError, match="--paper"):
        write_paper(files, tmp_path)

    assert [one.name for one in tmp_path.iterdir()] == ["table.tex"]
