from __future__ import annotations

import pytest

from moe_eval_plugin.errors import InvalidExpertCountError
from moe_eval_plugin.sweeps.planning import make_plan
from moe_eval_plugin.sweeps.settings.points import Axes
from tests.sweeps.sweeps import PLAN


def test_the_default_is_the_published_k_and_its_halves() -> None:
    checked = make_plan(PLAN, Axes())
    assert [point.name for point in checked.plan.points] == ["k8", "k4", "k2", "k1"]
    assert (checked.options.pretrained, checked.baseline_added) == ("demo", False)


@pytest.mark.parametrize("schedule", ["0", "65", "90-99:4/8", "8/decode+image:2"])
def test_a_k_that_is_not_possible_is_refused_before_a_weight_is_read(schedule: str) -> None:
    with pytest.raises(InvalidExpertCountError, match=r"experts_k=.*"):
        make_plan(PLAN, Axes((schedule,)))
