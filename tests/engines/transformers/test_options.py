from __future__ import annotations

import pytest

from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import (
    InvalidArgumentError,
)


@pytest.mark.parametrize("wrong", [{"dtype": "int3"}, {"experts_implementation": "magic"}])
def test_values_that_no_option_can_take(wrong: dict[str, str]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(InvalidArgumentError, match=f"{name}={value}"):
        EngineOptions("demo", **wrong)
