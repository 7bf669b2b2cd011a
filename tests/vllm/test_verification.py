from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.vllm.vllm_prompts import conversations

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.vllm.engine import VLLMEngine

    Start = Callable[..., VLLMEngine]


pytestmark = pytest.mark.needs_vllm


def test_verification_by_the_configuration_alone_says_so(start_engine: Start) -> None:
    experts = start_engine(2, verify="config").verify(conversations())
    assert experts.observed is None
    assert experts.requested == 2
    assert experts.routing["verification"] == "config"
    assert set(map(tuple, experts.routing["k_of_kernels"].values())) == {(2,)}


def test_verification_skips_what_cannot_be_asked_and_takes_the_next(start_engine: Start) -> None:
    def broken() -> list[Any]:
        message = "cannot identify image file"
        raise OSError(message)

    experts = start_engine(2).verify([broken, *conversations(6)])
    assert experts.n_image_tokens == 4 * 16
