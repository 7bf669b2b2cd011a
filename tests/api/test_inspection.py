"""What is known of a model before it runs, by name and of a loaded one."""

from __future__ import annotations

import pytest
from transformers import AutoConfig, AutoModelForImageTextToText

import moe_eval_plugin as moe
from moe_eval_plugin.api import inspection
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.checkpoint import resolve


def test_a_model_by_name() -> None:
    found = moe.inspect("demo", batch_sizes=[1])
    shown = repr(found)
    assert shown.startswith("k=4 instead of 8: at most ")
    assert "\n\nmodel              demo\n" in shown
    rows = found.table.to_dicts()
    assert [row["k"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 16, 32]
    assert rows[7]["prefill_speedup_ceiling"] == 1
    assert rows[-1]["active_share"] == 1
    assert "8 (published)" in found._repr_html_()
    assert list(found.to_pandas()["k"])[:2] == [1, 2]


def test_a_loaded_model_has_the_same_numbers() -> None:
    config = AutoConfig.from_pretrained(resolve("demo"))
    model = AutoModelForImageTextToText.from_config(config)
    loaded, named = moe.inspect(model), moe.inspect("demo")
    assert loaded.table.to_dicts() == named.table.to_dicts()
    assert loaded.report.weights_bytes is None


def test_what_is_no_model() -> None:
    with pytest.raises(InvalidArgumentError, match="int is none"):
        moe.inspect(3)  # type: ignore[arg-type]


def test_the_example_of_the_docstring_holds() -> None:
    import doctest

    assert doctest.testmod(inspection).failed == 0
