from __future__ import annotations

import pytest
import torch

from moe_eval_plugin.models.weights.dtypes import DTYPE_BYTES, dtype_bytes

SHORT_NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@pytest.mark.parametrize("name", list(DTYPE_BYTES))
def test_a_data_type_has_the_size_that_torch_gives_it(name: str) -> None:
    dtype = getattr(torch, SHORT_NAMES.get(name, name))
    assert dtype_bytes(name) == dtype.itemsize


@pytest.mark.parametrize("name", [None, "", "int9"])
def test_the_size_of_an_unknown_data_type_is_not_zero_but_unknown(name: str | None) -> None:
    assert dtype_bytes(name) is None
