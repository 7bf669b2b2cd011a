"""A condition fails or passes by intervals: what too few questions cannot tell is not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.report.analysis.statistics import at_margin, compute
from moe_eval_plugin.report.answer.condition import judge, parse_condition
from moe_eval_plugin.report.read_series import read_series
from tests.report.report_runs import one_per_image, right, write_run, write_sweep, wrong_every

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

SECONDS = {"k8": [2.0, 2.02, 1.98, 2.01] * 3, "k4": [1.0, 1.01, 0.99, 1.0] * 3}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> list[SeriesStatistics]:
    """k=4 loses 5 points, and is timed; k=2 loses half, and is not."""
    folder = tmp_path_factory.mktemp("sweep")
    wrong = {8: wrong_every(50), 4: wrong_every(16), 2: wrong_every(2)}
    write_sweep(folder, wrong, SECONDS)
    return [compute(one, 1.0) for one in read_series([folder])]


def shown(text: str, series: list[SeriesStatistics]) -> bool:
    return judge(parse_condition(text), series).shown


@pytest.mark.parametrize(
    ("condition", "is_shown"),
    [
        ("loss(k=2) > 10", True),
        ("loss(k=2)>=10", True),
        ("loss(k=2) < 10", False),
        ("loss(k=4) > 4.5", False),
        ("loss(k=4) < 4.5", False),
        ("loss(k=4) < 20", True),
        ("speed_up(k=4) > 1.9", True),
        ("speed_up(k=4) > 2.5", False),
        ("speed_up(k=4) < 2.5 and loss(k=2) > 10", True),
        ("speed_up(k=4) < 2.5 and loss(k=2) > 90", False),
        ("accuracy( k = 8 ) > 90", True),
        ('accuracy(setting="k=8", task=easy_vqa, model=demo) <= 90', False),
    ],
)
def test_a_condition_is_shown_by_the_interval(
    sweep: list[SeriesStatistics], condition: str, *, is_shown: bool
) -> None:
    assert shown(condition, sweep) is is_shown


@pytest.mark.parametrize("margin", [0.5, 2.0, 5.0, 40.0])
def test_a_loss_is_judged_as_in_the_verdicts(sweep: list[SeriesStatistics], margin: float) -> None:
    for one in at_margin(sweep[0], margin).points:
        if one.equivalence is not None:
            loss = f"loss({one.point.label})"
            assert shown(f"{loss} > {margin}", sweep) is one.equivalence.loses_more
            assert shown(f"{loss} < {margin}", sweep) is one.equivalence.loses_at_most


def test_the_numbers_are_named_with_their_intervals(sweep: list[SeriesStatistics]) -> None:
    text = judge(parse_condition("loss(k=2) > 10 and speed_up(k=4) > 1"), sweep).text

    assert text.startswith("the loss of k=2 is 48.00 points (90% interval 4")
    assert "; the speed-up of k=4 is 2.00× (95% interval 2.00 to 2.01×)" in text


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("loss(k=4) = 1", "cannot be read"),
        ("loss(k=4) > 1 or loss(k=2) > 1", "cannot be read"),
        ("loss(k=4) > one", "cannot be read"),
        ("", "cannot be read"),
        ("los(k=4) > 1", "Did you mean loss"),
        ("loss() > 1", "needs the setting"),
        ("loss(4) > 1", "needs the setting"),
        ("loss(k=4, tusk=okvqa) > 1", "takes k, setting, task, model"),
    ],
)
def test_what_is_no_condition_is_refused_with_an_example(condition: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as error:
        parse_condition(condition)
    assert "loss(k=4) > 1" in str(error.value)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("loss(k=3) > 1", r"not in this report.* It has: k=8, k=4, k=2\."),
        ("loss(k=4, task=easyvqa) > 1", "Did you mean easy_vqa"),
        ("speed_up(k=2) > 1", "was not measured"),
        ("loss(k=8) > 1", "with itself"),
    ],
)
def test_a_setting_that_cannot_be_judged_is_refused(
    sweep: list[SeriesStatistics], condition: str, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        judge(parse_condition(condition), sweep)


def test_one_of_several_models_has_to_be_named(tmp_path: Path) -> None:
    for name in ("a/one", "b/two"):
        for k in (8, 4):
            folder = tmp_path / name / str(k)
            questions = one_per_image(60)
            write_run(folder, k, wrong_every(9), questions, pretrained=name, rate=40 / k)
    series = [compute(one, 1.0) for one in read_series([tmp_path])]

    with pytest.raises(InvalidArgumentError, match=r"model=a/one.*model=b/two"):
        judge(parse_condition("loss(k=4) > 1"), series)
    assert shown("loss(k=4, model=b/two) < 30", series)
    once = judge(parse_condition("speed_up(k=4, model=b/two) > 1"), series)
    assert (once.shown, "timed once, which shows nothing" in once.text) == (False, True)


def test_nothing_is_shown_by_a_smoke_test(tmp_path: Path) -> None:
    for k in (8, 4):
        write_run(tmp_path / str(k), k, right, one_per_image(5))
    series = [compute(one, 1.0) for one in read_series([tmp_path])]

    judged = judge(parse_condition("loss(k=4) < 90"), series)

    assert not judged.shown
    assert "smoke test" in judged.text
