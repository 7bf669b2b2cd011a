"""A block in which a loaded model uses another k, on the embedded model and on tiny ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM

import moe_eval_plugin as moe
from moe_eval_plugin.errors import (
    InvalidArgumentError,
    InvalidExpertCountError,
    NotAnMoEError,
    OverrideError,
)
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.models.checkpoint import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

LAYERS = [f"model.language_model.layers.{number}.mlp.experts" for number in range(4)]


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForImageTextToText.from_pretrained(resolve("demo"))


@pytest.fixture(scope="module")
def inputs() -> Mapping[str, torch.Tensor]:
    """A question about an image: 16 of its 32 tokens are of the image."""
    processor = AutoProcessor.from_pretrained(resolve("demo"))
    content = [
        {"type": "image", "image": Image.new("RGB", (64, 64), "red")},
        {"type": "text", "text": "what color is the shape?"},
    ]
    tensors: Mapping[str, torch.Tensor] = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return tensors


def generate(model: Any, inputs: Mapping[str, torch.Tensor], n: int = 3) -> Any:
    return model.generate(**inputs, min_new_tokens=n, max_new_tokens=n, do_sample=False)


def test_tokens_use_k_in_the_block_and_the_published_k_afterwards(model: Any, inputs: Any) -> None:
    before = generate(model, inputs)
    with moe.experts_k(model, 1) as k:
        assert k.observed is None
        assert generate(model, inputs).tolist() != before.tolist()
        assert k.observed == 1
    assert dict(k.layers) == dict.fromkeys(LAYERS, 1.0)
    assert repr(k) == "experts_k=1 (published k: 8), observed 1 in 4 of 4 layers"
    assert generate(model, inputs).tolist() == before.tolist()


@pytest.mark.parametrize(
    ("schedule", "layers"),
    [("8/image:2", None), ("prefill:8/decode:4", None), ("0-1:2/2-3:4", [2.0, 2.0, 4.0, 4.0])],
)
def test_schedules_are_observed(
    model: Any, inputs: Any, schedule: str, layers: list[float] | None
) -> None:
    with moe.experts_k(model, schedule) as k:
        generate(model, inputs)
    assert k.check().experts_k == schedule
    if layers is not None:
        assert list(k.layers.values()) == layers


def test_a_prompt_without_images_is_no_fault_of_a_schedule_for_images(model: Any) -> None:
    with moe.experts_k(model, "8/image:2") as k:
        model(input_ids=torch.tensor([[50, 60, 70]]))
    assert k.observed == 8
    assert k.n_tokens == 3


def test_how_much_is_observed_can_be_chosen(model: Any, inputs: Any) -> None:
    counts = {}
    for observe in ("first", "all"):
        with moe.experts_k(model, 4, observe=observe) as k:
            generate(model, inputs, 4)
            generate(model, inputs, 4)
        counts[observe] = k.n_tokens
    n_prompt = inputs["input_ids"].shape[1]
    assert counts == {"first": n_prompt + 1, "all": 2 * (n_prompt + 3)}
    with moe.experts_k(model, 4, observe="none") as k:
        generate(model, inputs)
    assert k.observed is None
    assert not k.layers
    assert repr(k).endswith("not observed")
    with pytest.raises(InvalidArgumentError, match='observe="none"'):
        k.check()


def test_an_exception_is_raised_as_it_is_and_the_model_restored(model: Any, inputs: Any) -> None:
    def fail() -> None:
        with moe.experts_k(model, 2) as k:
            model(**inputs)
            assert k.observed == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with moe.experts_k(model, None) as published:
        model(**inputs)
    assert published.observed == published.baseline == 8


def test_a_model_that_ignores_k_is_found_out(model: Any, inputs: Any) -> None:
    experts = model.model.language_model.layers[1].mlp.experts

    def to_three(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, index, weights = args
        return hidden, index[:, :3], weights[:, :3]

    handle = experts.register_forward_pre_hook(to_three)
    try:
        with (
            pytest.raises(OverrideNotEffectiveError, match=r"layers\.1.*4 requested, observed 3"),
            moe.experts_k(model, 4),
        ):
            model(**inputs)
    finally:
        handle.remove()


def test_nothing_ran_and_nothing_is_verified(model: Any) -> None:
    with moe.experts_k(model, 4) as k:
        pass
    assert "no token was observed" in repr(k)
    with pytest.raises(OverrideNotEffectiveError):
        k.check()


def test_blocks_on_one_model_are_not_nested(model: Any) -> None:
    with (
        moe.experts_k(model, 4),
        pytest.raises(OverrideError, match="cannot be nested"),
        moe.experts_k(model, 2),
    ):
        pass


def dense() -> LlamaForCausalLM:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "vocab_size": 20}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, num_attention_heads=2, **sizes))


def test_what_cannot_be_set_is_refused(model: Any) -> None:
    compiled: Any = torch.compile(model)
    refused: list[tuple[Any, Any, type[Exception], str]] = [
        (model, 33, InvalidExpertCountError, "Use 1 to 32"),
        (model, 2.5, InvalidExpertCountError, "2.5"),
        (dense(), 2, NotAnMoEError, "dense model"),
        (compiled, 4, OverrideError, "torch.compile"),
        ("demo", 4, InvalidArgumentError, "needs a loaded transformers model, and str is none"),
        (torch.nn.Linear(2, 2), 4, InvalidArgumentError, "Linear is none"),
    ]
    for what, k, error, text in refused:
        with pytest.raises(error, match=text), moe.experts_k(what, k):
            pass
