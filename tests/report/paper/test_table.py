"""The table of a paper says what was measured, with what was timed once, and stays a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.paper.caption import caption, table_caption
from moe_eval_plugin.report.paper.latex import as_latex, escape
from moe_eval_plugin.report.paper.markdown import as_markdown
from moe_eval_plugin.report.paper.table import make_paper_table
from moe_eval_plugin.report.read_series import read_series
from tests.report.paper.latex_check import check_latex
from tests.report.report_runs import right, write_run, write_sweep, wrong_every

if TYPE_CHECKING:
    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

# Seconds of each block, k=4 in half the time of k=8.
SECONDS = {"k8": [2.0, 2.02, 1.98, 2.01] * 3, "k4": [1.0, 1.01, 0.99, 1.0] * 3}


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> list[SeriesStatistics]:
    folder = tmp_path_factory.mktemp("timed")
    write_sweep(folder, {8: wrong_every(9), 4: wrong_every(9), 1: wrong_every(2)}, SECONDS)
    return [compute(one, 5.0) for one in read_series([folder])]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> list[SeriesStatistics]:
    folder = tmp_path_factory.mktemp("once")
    write_run(folder / "k8", 8, right)
    write_run(folder / "k4", 4, wrong_every(5), rate=15, pretrained="a_model/of&mine%")
    write_run(folder / "base", 8, right, pretrained="a_model/of&mine%")
    return [compute(one, 1.0) for one in read_series([folder])]


def test_a_row_has_each_number_with_its_interval_and_its_verdict(
    timed: list[SeriesStatistics],
) -> None:
    eight, four, one = make_paper_table(timed).rows

    assert (eight.k, eight.observed, eight.is_published, eight.verdict) == ("8", "8", True, "")
    assert (eight.speed_up.value, eight.change.value) == ("1", "")
    assert [row.is_within for row in (eight, four, one)] == ["", "yes", "no"]
    assert (four.verdict, four.is_recommended) == ("within 5 points", True)
    assert four.speed_up.value == "2.00"
    assert four.speed_up.ends is not None
    assert four.change.ends is not None
    assert one.verdict == "loses more than 5 points"
    assert one.change.value.startswith("−")


def test_markdown_shows_a_row_for_each_k(timed: list[SeriesStatistics]) -> None:
    lines = as_markdown(make_paper_table(timed)).splitlines()

    assert lines[0].count("|") == lines[2].count("|") == 8
    assert re.match(r"\|\s*8 \(published\)", lines[2])
    assert re.match(r"\|\s*\*\*4\*\*", lines[3])
    assert lines[-1].startswith("Bold: the fastest k that is shown to lose at most 5 points")


def test_what_was_timed_once_is_marked(once: list[SeriesStatistics]) -> None:
    table = make_paper_table(once)

    assert "1.50 (timed once)" in as_markdown(table)
    assert r"1.50\textsuperscript{a}" in as_latex(table, "", "tab:x")
    assert "Timed once, so without an interval; supports no finding." in as_latex(table, "", "t")


def test_latex_compiles_by_its_structure_whatever_a_model_is_called(
    once: list[SeriesStatistics], timed: list[SeriesStatistics]
) -> None:
    for series in (once, timed, [*once, *timed]):
        text = as_latex(make_paper_table(series), table_caption(series), "tab:moe eval_x")
        check_latex(text)
        assert r"\label{tab:moe-eval-x}" in text
    assert r"a\_model/of\&mine\%" in as_latex(make_paper_table(once), "", "t")


@given(st.text())
@example("--- '' \\ ~^<>|\"`'#$%&_{} ∑ é − × ·")
def test_any_text_is_escaped(text: str) -> None:
    escaped = escape(text)
    check_latex(escaped)
    assert escaped.isascii()


def test_the_caption_says_on_what_and_how(timed: list[SeriesStatistics]) -> None:
    text = " ".join(caption(timed).split())

    assert "200 questions on 200 images" in text
    assert "10,000 resamples" in text
    assert "within 5 points if a one-sided test at the 5% level" in text
    assert "lmms-eval 0.7.3" in text
    assert all(len(line) <= 88 for line in caption(timed).splitlines())
