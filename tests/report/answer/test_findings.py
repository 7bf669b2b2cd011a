"""Only what was shown is claimed: three groups, and a recommendation or what it lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.report.answer.findings import findings
from moe_eval_plugin.report.answer.summary import summary_lines
from tests.report.report_runs import (
    computed,
    one_per_image,
    records,
    right,
    write_other_run,
    write_run,
    write_sweep,
    wrong_every,
)
from tests.results.timing.timed_files import around, timed_pass, write_timed_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.dataset import Record

    Answer = Callable[[int, Record], str]

CLAIMS = ("Within", "Loses", "Recommended")
USUAL = wrong_every(10)


def texts(folder: Path, margin: float = 1.0, kind: str | None = None) -> list[str]:
    found = findings(computed(folder, margin))
    return [one.text for one in found if kind in (None, one.kind)]


def wrong_more(n: int) -> Answer:
    """Answer wrongly as at the published k, and at so many more questions."""
    return lambda number, record: (
        "a wrong answer"
        if number % 10 == 0 or (number % 10 == 1 and number < 10 * n)
        else record["answers"][0]
    )


def test_five_questions_that_are_all_wrong_yield_no_claim(tmp_path: Path) -> None:
    for k in (8, 4):
        write_run(tmp_path / f"k{k}", k, wrong_every(1), records(5), rate=80 / k)

    found = texts(tmp_path)

    assert found[0].startswith("Smoke test: 5 questions on 1 image (at least 50 images are needed)")
    assert "k=8 scores 0.00%" in found[0]
    assert "Too few questions to tell: k=4 (0.00 points)." in found
    assert not [text for text in found if text.startswith(CLAIMS)]


def test_300_questions_and_a_small_loss_are_too_few_to_tell(tmp_path: Path) -> None:
    answers = {8: USUAL, 4: wrong_more(4)}
    write_sweep(tmp_path, answers, {"k8": around(4), "k4": around(2)}, one_per_image(300))

    recommendation, group, *_ = texts(tmp_path)

    assert group.startswith("Too few questions to tell (about ")
    assert group.endswith(" would): k=4 (−1.33 points).")
    assert recommendation.startswith("No recommendation: no setting both loses at most 1 point")


def test_each_setting_is_in_one_of_three_groups(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: USUAL, 6: USUAL, 4: wrong_more(8), 1: wrong_every(2)})

    assert texts(tmp_path, 6.0, "group") == [
        "Within 6 points: k=6 (0.00 points).",
        "Loses more than 6 points: k=1 (−40.00 points).",
        "Too few questions to tell (about 738 would): k=4 (−4.00 points).",
    ]


def test_what_is_shown_to_lose_little_and_to_be_faster_is_recommended(tmp_path: Path) -> None:
    seconds = {"k8": around(4), "k4": around(2), "k2": around(1)}
    write_sweep(tmp_path, {8: USUAL, 4: wrong_more(2), 2: wrong_every(2)}, seconds)

    (text,) = texts(tmp_path, 5.0, "recommendation")

    assert text.startswith(
        "Recommended: k=4. It is 2.00× (2.00 to 2.00) as fast as k=8 at batch size 4 and loses "
        "1.00 points (95% interval "
    )
    assert text.endswith("no more than the 5 points you allow.")


@pytest.mark.parametrize(
    ("seconds", "lacks"),
    [
        (None, "its speed-up, 2.00×, was timed once."),
        ({"k8": [4.0], "k4": [2.0]}, "its speed-up, 2.00×, was timed once."),
        ({"k8": around(4), "k4": around(4)[::-1]}, "may not be faster: its speed-up is"),
        ({"k8": around(4), "k4": around(5)}, "no setting both loses at most 5 points and may be"),
    ],
)
def test_a_speed_up_that_was_not_shown_is_not_recommended(
    tmp_path: Path, seconds: dict[str, Sequence[float]] | None, lacks: str
) -> None:
    write_sweep(tmp_path, {8: USUAL, 4: USUAL}, seconds)

    (text,) = texts(tmp_path, 5.0, "recommendation")

    assert text.startswith("No recommendation")
    assert lacks in text
    assert texts(tmp_path, 5.0, "group") == ["Within 5 points: k=4 (0.00 points)."]


def test_what_is_not_shown_to_lose_little_lacks_questions(tmp_path: Path) -> None:
    seconds = {"k8": around(4), "k4": around(2)}
    write_sweep(tmp_path, {8: USUAL, 4: wrong_more(1)}, seconds)

    (text,) = texts(tmp_path, 1.0, "recommendation")

    assert text.startswith("No recommendation yet: k=4 loses 0.50 points (")
    assert ", but 200 questions cannot rule out a loss of more than 1 point (about " in text


def test_where_all_settings_lose_more_nothing_else_is_missing(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: USUAL, 4: wrong_every(2), 2: wrong_every(1)})

    (text,) = texts(tmp_path, 1.0, "recommendation")

    assert text == "Keep k=8: every other setting loses more than 1 point."


def test_a_gain_beyond_the_margin_is_no_loss(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: wrong_every(2), 4: USUAL})

    assert texts(tmp_path, 2.0, "group") == ["Within 2 points or better: k=4 (+40.00 points)."]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (wrong_every(1), "k=8 scores 0.00%, so a smaller k has nothing to lose"),
        (right, "k=8 scores 100.00%: the questions are too easy"),
    ],
)
def test_a_baseline_near_0_or_100_makes_a_smoke_test(
    tmp_path: Path, answer: Answer, reason: str
) -> None:
    seconds = {"k8": around(4), "k4": around(2)}
    write_sweep(tmp_path, {8: answer, 4: answer}, seconds)

    found = texts(tmp_path, 5.0)

    assert found[0].startswith(f"Smoke test: {reason}")
    assert not [text for text in found if text.startswith(CLAIMS)]


def test_a_baseline_like_a_constant_answer_makes_a_smoke_test(tmp_path: Path) -> None:
    closed = one_per_image(100, ("yes", "no"))
    write_sweep(tmp_path, {8: lambda *_: "no", 4: lambda *_: "no"}, None, closed)

    (text,) = texts(tmp_path, 5.0, "smoke test")

    assert "not shown to be better than one answer to every question (" in text


def test_a_baseline_that_is_above_chance_is_none(tmp_path: Path) -> None:
    closed = one_per_image(100, ("yes", "no"))
    write_sweep(tmp_path, {8: USUAL, 4: USUAL}, None, closed)

    assert texts(tmp_path, 5.0, "smoke test") == []


def test_without_a_baseline_the_terminal_says_so(tmp_path: Path) -> None:
    write_sweep(tmp_path, {4: USUAL, 2: USUAL}, {"k4": around(4), "k2": around(2)})

    lines = list(summary_lines([computed(tmp_path)]))

    assert lines[1].startswith("  No baseline: run the published k (k=8) as well")
    assert len(lines) == 2


def test_the_score_of_another_model_makes_no_smoke_test(tmp_path: Path) -> None:
    write_other_run(tmp_path)

    (text,) = texts(tmp_path, kind="smoke test")

    assert text.startswith("Smoke test: 40 questions on 4 images (at least 50 images are needed). ")


def test_a_busy_machine_and_speeds_in_the_wrong_order_are_warned_of(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: USUAL, 4: USUAL})
    one = timed_pass({"k8": around(4), "k4": around(5)})
    load = MachineLoad(n_cores=2, load_average=5.0, other_cpu_cores=1.5)
    write_timed_pass(
        tmp_path, replace(one, blocks=tuple(replace(block, load=load) for block in one.blocks))
    )

    busy, order = texts(tmp_path, kind="warning")

    assert "other programs kept 1.5 of 2 cores busy" in busy
    assert order.startswith("k=4 came out slower than k=8 although it does less work")


@pytest.mark.parametrize(
    ("ended_by", "words"),
    [
        ("precision", "It stopped when every interval was narrower than 3% of its speed-up."),
        ("budget", "It stopped after its 60 s; the widest interval, for k=4, is 3"),
        ("rounds", "It stopped after its last round; the widest interval, for k=4, is 3"),
        (None, "It has not ended; the widest interval"),
    ],
)
def test_the_page_says_why_timing_ended(tmp_path: Path, ended_by: str, words: str) -> None:
    write_sweep(tmp_path, {8: USUAL, 4: USUAL})
    one = timed_pass({"k8": around(4), "k4": around(4, spread=0.02)[::-1]})
    write_timed_pass(tmp_path, replace(one, ended_by=ended_by))

    (text,) = [text for text in texts(tmp_path) if text.startswith("Speeds at batch size 4")]

    assert "8 blocks over 4 questions, every setting in each block" in text
    assert words in text
