"""The implementation of the experts is the one that was asked for, in decode too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.bench.workload.experts_implementation import (
    GROUPED_ALWAYS,
    IMPLEMENTATIONS,
    use_experts,
)
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.testing import tiny_moe

if TYPE_CHECKING:
    from collections.abc import Iterator

IDS = torch.arange(2, 26).reshape(2, 12)


def test_all_implementations_compute_the_same() -> None:
    model = tiny_moe()
    use_experts(model, "eager")
    with torch.inference_mode():
        expected = model(IDS).logits
        for name in IMPLEMENTATIONS:
            use_experts(model, name)
            assert model.config._experts_implementation == name
            torch.testing.assert_close(model(IDS).logits, expected, rtol=1e-4, atol=1e-4)


def test_without_a_wish_nothing_is_changed() -> None:
    model = tiny_moe()
    before = model.config._experts_implementation
    use_experts(model, None)
    assert model.config._experts_implementation == before


@pytest.mark.parametrize("name", ["fast", ""])
def test_a_name_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="Use eager, grouped_mm"):
        use_experts(tiny_moe(), name)


class OnAnotherDevice(torch.nn.Module):
    """Makes a model say that it lies on a GPU, which is all that transformers looks at here."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")


def implementation_in_decode(name: str) -> Iterator[Any]:
    model = tiny_moe()
    use_experts(model, name)
    on_gpu = type("OnGPU", (OnAnotherDevice, type(model)), {})
    model.__class__ = on_gpu
    with model._optimize_model_for_decode():
        yield model.config._experts_implementation
    yield model.config._experts_implementation


def test_grouped_multiplication_is_kept_in_decode_on_a_gpu() -> None:
    assert list(implementation_in_decode("grouped_mm")) == ["batched_mm", "grouped_mm"]
    assert list(implementation_in_decode(GROUPED_ALWAYS)) == [GROUPED_ALWAYS] * 2
