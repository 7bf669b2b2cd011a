from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED, Agreement, Row
from moe_eval_plugin.publish.reproduce.preconditions import (
    EnvironmentDifferences,
)
from moe_eval_plugin.publish.reproduce.text import MAX_PACKAGES, render_agreement, render_before
from moe_eval_plugin.stats.resampling import Interval

if TYPE_CHECKING:
    from moe_eval_plugin.publish.reproduce.agreement import Verdict

SCORES = tuple(
    Row(point, "easy_vqa", "exact_match", 0.5, 0.5, AGREES, "equal", kind="accuracy")
    for point in ("k8", "k6", "k4")
)
TOKENS = Row("k8", "easy_vqa", "n_input_tokens", 7, 7, AGREES, "equal")
TURNED = (
    "Speed: not judged: timed once; speed-ups differ by up to 120% (k=6); "
    "the sign changed at k=6 (0.50× then, 1.10× now)."
)
THEN, NOW = Interval(1.3, 1.42, 0.95), Interval(1.28, 1.41, 0.95)


def speed(point: str, then: float, now: float, verdict: Verdict, reason: str = "timed once") -> Row:
    number = "speed-up, batch size 16"
    return Row(point, "easy_vqa", number, then, now, verdict, reason, kind="speed")


def lines(*rows: Row) -> list[str]:
    """Return what is printed of a comparison, long lines in one."""
    return render_agreement(Agreement(rows)).replace("\n  ", " ").splitlines()


def test_each_aspect_has_a_line_of_its_own() -> None:
    experts = Row("k8", "easy_vqa", "observed", 8, 8, AGREES, "equal", kind="experts")
    speeds = speed("k6", 0.5, 1.1, NOT_JUDGED), speed("k4", 1.5, 1.4, NOT_JUDGED)
    assert lines(*SCORES, TOKENS, experts, *speeds)[-4:] == [
        "Accuracy: reproduced, 3 of 3 settings.",
        "Experts used: reproduced.",
        "Questions and tokens: reproduced.",
        TURNED,
    ]


def test_a_row_for_each_setting_shows_then_and_now() -> None:
    timed = replace(
        speed("k4", 1.37, 1.35, AGREES), original_interval=THEN, interval=NOW, reason="contains 1"
    )
    other = speed("k6", 0.9, 1.2, DIFFERS)
    table = [line.split("  ") for line in lines(*SCORES, timed, other)[:4]]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in table]
    assert rows == [
        ["setting", "accuracy then", "now", "speed-up then", "speed-up now", "verdict"],
        ["k=8", "50.00%", "50.00%", "reproduced"],
        [
            *("k=6", "50.00%", "50.00%", "0.90×, timed once", "1.20×, timed once"),
            "NOT REPRODUCED: speed-up",
        ],
        [
            *("k=4", "50.00%", "50.00%", "1.37× (1.30 to 1.42)", "1.35× (1.28 to 1.41)"),
            "reproduced",
        ],
    ]


def test_every_number_is_shown_with_verbose_only() -> None:
    assert not any("n_input_tokens" in line for line in lines(*SCORES, TOKENS))
    text = render_agreement(Agreement((*SCORES, TOKENS)), verbose=True)
    assert "k=8 easy_vqa\n" in text
    assert "n_input_tokens" in text


def test_tasks_and_batch_sizes_are_columns_where_there_are_several() -> None:
    more = replace(SCORES[0], task="okvqa")
    large = replace(speed("k6", 1.2, 1.2, AGREES), number="speed-up, batch size 128")
    small = speed("k6", 1.1, 1.1, AGREES)
    table = lines(*SCORES, more, small, large)
    assert table[0].split()[:3] == ["setting", "task", "batch"]
    assert sum(line.startswith("k=6") for line in table) == 2
    assert table[-1] == "Speed: reproduced, 2 of 2 speed-ups."


def test_a_setting_whose_accuracy_was_not_judged_does_not_count() -> None:
    unpaired = replace(SCORES[0], verdict=NOT_JUDGED, reason="no samples")
    assert lines(unpaired, *SCORES[1:])[-1] == "Accuracy: reproduced, 2 of 3 settings."
    assert lines(unpaired, TOKENS)[-2] == "Accuracy: not judged: no samples."


def test_reproduced_is_not_said_of_a_speed_up_that_changed_its_sign() -> None:
    steady = speed("k4", 1.5, 1.4, AGREES)
    turned = speed("k6", 1.02, 0.99, NOT_JUDGED, "its sign changed; contains 1")
    text = "\n".join(lines(*SCORES, steady, turned))
    assert "Speed: not judged" in text
    assert "the sign changed at k=6 (1.02× then, 0.99× now); 1 of 2 speed-ups agree." in text
    assert "  accuracy reproduced; the" in text


def test_a_speed_up_that_differs_is_named() -> None:
    assert lines(*SCORES, speed("k6", 1.5, 1.1, DIFFERS))[-1] == (
        "Speed: not reproduced: k=6 (1.50× then, 1.10× now)."
    )


def test_a_difference_is_named_and_nothing_judged_is_said_so() -> None:
    assert lines(*SCORES, replace(TOKENS, verdict=DIFFERS))[-1] == (
        "Questions and tokens: not reproduced: k=8 n_input_tokens."
    )
    assert lines(speed("k6", 0.5, 1.1, NOT_JUDGED))[-1].startswith("Nothing could be judged")


def test_of_many_packages_only_some_are_shown_and_the_rest_counted() -> None:
    before = EnvironmentDifferences(
        tuple(f"p{number}: 1 -> 2" for number in range(MAX_PACKAGES + 3)), ()
    )
    lines = render_before(before).splitlines()
    assert len(lines) == MAX_PACKAGES + 2
    assert lines[-1] == "  ... and 3 more, all in --json"
