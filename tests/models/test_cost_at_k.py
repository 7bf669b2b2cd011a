from __future__ import annotations

from typing import Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.cost_at_k import Scenario


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_length": 0}, "context=0"),
        ({"batch_sizes": (4, 0)}, "batch_sizes=4 0"),
        ({"batch_sizes": ()}, "batch_sizes=nothing"),
        ({"dtype": "int9"}, "dtype=int9"),
    ],
)
def test_impossible_scenario_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Scenario(**changes)
