"""What to use of several series, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("altair", reason="the extra report is not installed")

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.page.first_screen.matrix import matrix
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.report.tables.key_table import shared_questions
from tests.report.report_runs import one_per_image, write_sweep, wrong_every
from tests.results.timing.timed_files import around

if TYPE_CHECKING:
    from pathlib import Path


def test_each_series_shows_what_distinguishes_it_and_what_to_use_at_each_margin(
    tmp_path: Path,
) -> None:
    answers = {8: wrong_every(10), 4: wrong_every(10), 2: wrong_every(3)}
    seconds = {"k8": around(4), "k4": around(2, spread=0.02), "k2": around(1, spread=0.02)}
    write_sweep(tmp_path / "a", answers, seconds)
    write_sweep(tmp_path / "b", answers, seconds, one_per_image(120))
    series = read_series([tmp_path / "a", tmp_path / "b"], labels={"B": "fewer"})
    found = [compute(one, 1.0) for one in series]

    overview = matrix(found)

    assert overview is not None
    assert overview.headings == ("Questions",)
    assert overview.tasks == ("easy_vqa",)
    assert [(row.name, row.facts) for row in overview.rows] == [
        ("A", ("200",)),
        ("fewer", ("120",)),
    ]
    (choices,) = overview.rows[0].choices
    assert [choice.margin for choice in choices] == ["0.5", "1", "2", "5"]
    at_five = choices[-1]
    assert (at_five.headline, at_five.is_recommended) == ("k=4", True)
    assert at_five.detail.startswith("0.00 points, 2.0")
    assert matrix(found[:1]) is None
    (sentence,) = shared_questions(found)
    assert sentence.startswith("A and fewer share 120 questions of easy_vqa, of 200 and 120")
