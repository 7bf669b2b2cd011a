from __future__ import annotations

from moe_eval_plugin.publish.reproduce.preconditions import (
    EnvironmentDifferences,
)
from moe_eval_plugin.publish.reproduce.text import MOST_PACKAGES, render_before


def test_of_many_packages_only_some_are_shown_and_the_rest_counted() -> None:
    before = EnvironmentDifferences(
        tuple(f"p{number}: 1 -> 2" for number in range(MOST_PACKAGES + 3)), ()
    )
    lines = render_before(before).splitlines()
    assert len(lines) == MOST_PACKAGES + 2
    assert lines[-1] == "  ... and 3 more, all in --json"
