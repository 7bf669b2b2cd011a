from __future__ import annotations

from dataclasses import replace

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED, Agreement, Row
from moe_eval_plugin.publish.reproduce.preconditions import (
    EnvironmentDifferences,
)
from moe_eval_plugin.publish.reproduce.text import MAX_PACKAGES, render_agreement, render_before

SCORES = tuple(
    Row(point, "easy_vqa", "exact_match", 0.5, 0.5, AGREES, "equal", kind="accuracy")
    for point in ("k8", "k6", "k4")
)
SPEED_UP = "samples_per_s, ratio to baseline"
SPEEDS = (
    Row("k6", "easy_vqa", SPEED_UP, 0.5, 1.1, NOT_JUDGED, "no interval", kind="speed"),
    Row("k4", "easy_vqa", SPEED_UP, 1.5, 0.75, NOT_JUDGED, "no interval", kind="speed"),
    Row("k4", "easy_vqa", "samples_per_s", 1.0, 9.0, NOT_JUDGED, "no interval", kind="speed"),
)
TOKENS = Row("k8", "easy_vqa", "n_input_tokens", 7, 7, AGREES, "equal")


def verdict(*rows: Row) -> str:
    """Return the last line of a comparison."""
    return render_agreement(Agreement(rows)).splitlines()[-1]


def test_the_verdict_counts_settings_and_shows_the_speed_up_that_changed_most() -> None:
    assert verdict(*SCORES, TOKENS, *SPEEDS) == (
        "Accuracy reproduced: 3 of 3 settings (4 agree, 0 differ, 3 not judged). Speed was not "
        "judged: speed-ups differ by up to 120% (k6: 0.50 then, 1.10 now); see --speed-within."
    )


def test_a_setting_whose_accuracy_was_not_judged_does_not_count() -> None:
    unpaired = replace(SCORES[0], verdict=NOT_JUDGED)
    assert verdict(unpaired, *SCORES[1:]).startswith("Accuracy reproduced: 2 of 3 settings (2 ")
    assert verdict(unpaired, TOKENS) == (
        "Reproduced, but no accuracy was judged (1 agree, 0 differ, 1 not judged)."
    )


def test_speed_that_was_judged_or_has_no_speed_up_says_so() -> None:
    judged = replace(SPEEDS[0], verdict=AGREES)
    assert verdict(*SCORES, judged, *SPEEDS[1:]).endswith(" Speed agrees where it was judged.")
    assert verdict(*SCORES, SPEEDS[2]).endswith(" Speed was not judged; see --speed-within.")
    assert verdict(*SCORES).endswith("not judged).")


def test_a_difference_is_named_and_nothing_counts_as_reproduced() -> None:
    other = replace(TOKENS, verdict=DIFFERS)
    assert verdict(*SCORES, other).startswith("Not reproduced: k8 n_input_tokens (3 agree")
    assert verdict(*SPEEDS).startswith("Nothing could be judged")


def test_of_many_packages_only_some_are_shown_and_the_rest_counted() -> None:
    before = EnvironmentDifferences(
        tuple(f"p{number}: 1 -> 2" for number in range(MAX_PACKAGES + 3)), ()
    )
    lines = render_before(before).splitlines()
    assert len(lines) == MAX_PACKAGES + 2
    assert lines[-1] == "  ... and 3 more, all in --json"
