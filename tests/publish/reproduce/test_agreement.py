from __future__ import annotations

from moe_eval_plugin.publish.reproduce.agreement import NOT_JUDGED, Agreement, Row
from moe_eval_plugin.publish.reproduce.text import render_agreement


def test_where_nothing_can_be_judged_nothing_is_reproduced() -> None:
    agreement = Agreement((Row("run", "t", "n", 1.0, 2.0, NOT_JUDGED, "no samples"),))
    assert not agreement.agrees
    assert "Nothing could be judged" in render_agreement(agreement)
