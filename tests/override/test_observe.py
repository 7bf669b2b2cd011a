"""The probe counts experts per token, by modality and phase, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PreTrainedModel,
)

from moe_eval_plugin.experts.layer_observation import TokenCount
from moe_eval_plugin.experts.observation import InputTokenCount, merge
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.testing import tiny_moe
from tests.override.fake_moe import IMAGE, FakeMoE, generate, ids

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_image_text_and_padding_are_kept_apart() -> None:
    model = FakeMoE()
    with observe(model) as pending:
        model(
            input_ids=ids(0, 9, 9, 5),
            attention_mask=torch.tensor([[0, 1, 1, 1]]),
            choice=torch.tensor([[0, 0], [1, 2], [3, 3], [4, 5]]),
        )
    observation = pending.result()
    layer = observation.layers["experts"]
    assert layer.tokens == (
        TokenCount("prefill", "image", 1, 1),
        TokenCount("prefill", "image", 2, 1),
        TokenCount("prefill", "padding", 1, 1),
        TokenCount("prefill", "text", 2, 1),
    )
    assert observation.mean_k() == pytest.approx(5 / 3)
    assert observation.n_tokens("image") == 2
    assert layer.unused_experts == (0,)
    assert layer.distinct_per_step("prefill") == ("prefill", 1, 5, 5, 5)


def test_the_result_can_be_asked_for_while_counting_goes_on() -> None:
    model = FakeMoE()
    with observe(model) as pending:
        assert pending.result().by_layer() == {"experts": {}}
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
        first = pending.result()
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert first.by_layer() == {"experts": {1: 1}}
    assert pending.result().by_layer() == {"experts": {1: 2}}


def test_one_observer_may_span_inference_mode_and_training() -> None:
    model = tiny_moe()
    tokens = torch.arange(2, 14).reshape(2, 6)
    with observe(model) as pending:
        with torch.inference_mode():
            model(input_ids=tokens)
        model(input_ids=tokens).logits.sum().backward()
        with torch.inference_mode():
            model(input_ids=tokens)
    assert all(seen == {4: 36} for seen in pending.result().by_layer().values())


def test_observers_do_not_disturb_each_other() -> None:
    model = FakeMoE()
    with observe(model) as outer:
        model(input_ids=ids(5), choice=torch.tensor([[1, 2]]))
        with observe(model) as inner:
            model(input_ids=ids(5), choice=torch.tensor([[1]]))
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert inner.result().by_layer() == {"experts": {1: 1}}
    assert outer.result().by_layer() == {"experts": {1: 2, 2: 1}}


def test_merged_parts_are_the_whole() -> None:
    model = tiny_moe()
    batches = [torch.randint(2, 60, (2, 5)) for _ in range(3)]
    parts = []
    with torch.no_grad(), observe(model) as whole:
        for batch in batches:
            with observe(model) as part:
                model(input_ids=batch)
            parts.append(part.result())
    assert merge(parts) == whole.result()


def hooks_of(model: torch.nn.Module) -> Iterator[Any]:
    for module in model.modules():
        yield from (*module._forward_pre_hooks.values(), *module._forward_hooks.values())


@pytest.mark.parametrize("model_type", ["qwen3_moe", "llama4_text"])
def test_hooks_are_gone_afterwards_even_after_an_error(model_type: str) -> None:
    model = tiny_moe(model_type)
    before = list(hooks_of(model))
    with observe(model):
        assert list(hooks_of(model)) != before
    with pytest.raises(RuntimeError), observe(model):
        raise RuntimeError
    assert list(hooks_of(model)) == before


def test_hooks_are_gone_if_a_module_cannot_be_watched() -> None:
    model = tiny_moe()
    before = list(hooks_of(model))

    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError

    model.model.layers[2].mlp.experts.register_forward_pre_hook = fail
    with pytest.raises(RuntimeError), observe(model):
        pass
    assert list(hooks_of(model)) == before


def test_a_dense_model_has_tokens_and_no_layers() -> None:
    model = tiny_moe("llama")
    with observe(model) as pending:
        model(input_ids=torch.tensor([[3, 4]]))
    assert pending.result().layers == {}
    assert pending.result().n_tokens("text") == 2


VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "temporal_merge_size": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
}


TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [3, 3, 2],
    },
}


EXPERTS = {
    "qwen3_vl_moe": {"num_experts": 8, "num_experts_per_tok": 4, "moe_intermediate_size": 16},
    "ernie4_5_vl_moe": {
        "moe_num_experts": 8,
        "moe_k": 4,
        "moe_intermediate_size": [16, 16],
        "moe_num_shared_experts": 1,
        "mlp_layer_types": ["sparse", "sparse"],
    },
}


def vision_model(model_type: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        text_config={"model_type": f"{model_type}_text", **TEXT, **EXPERTS[model_type]},
        vision_config=VISION,
        image_token_id=IMAGE,
        video_token_id=51,
        vision_start_token_id=52,
        image_start_token_id=52,
        vision_end_token_id=53,
        image_end_token_id=53,
    )
    return AutoModelForImageTextToText.from_config(config).eval()


def image_inputs(model_type: str) -> dict[str, torch.Tensor]:
    """Two rows, the first padded on the left; an image of 4 x 4 patches, 4 tokens, in each."""
    image = [52, IMAGE, IMAGE, IMAGE, IMAGE, 53]
    tokens = torch.tensor([[0, 0, *image, 5], [6, 7, *image, 8]])
    depth = 2 if model_type == "qwen3_vl_moe" else 1
    token_kinds = (tokens == IMAGE).long()
    inputs = {
        "input_ids": tokens,
        "attention_mask": (tokens != 0).long(),
        "pixel_values": torch.randn(32, 3 * depth * 16),
        "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4]]),
        "mm_token_type_ids": token_kinds,
    }
    return inputs | ({"moe_mm_token_type_ids": token_kinds} if depth == 1 else {})


def test_an_image_is_distinguished_from_text_in_a_vision_language_model() -> None:
    observation = generate(vision_model("qwen3_vl_moe"), **image_inputs("qwen3_vl_moe"))
    assert observation.input_tokens == (
        InputTokenCount("decode", "text", 4),
        InputTokenCount("prefill", "image", 8),
        InputTokenCount("prefill", "padding", 2),
        InputTokenCount("prefill", "text", 8),
    )
    assert len(observation.layers) == 2
    assert all(seen == {4: 8} for seen in observation.by_layer("image").values())
    assert all(seen == {4: 12} for seen in observation.by_layer("text").values())
    assert all(seen == {4: 2} for seen in observation.by_layer("padding").values())
    assert observation.missed_tokens() == {}


TEXT_EXPERTS = {f"model.language_model.layers.{i}.mlp.text_moe.experts" for i in range(2)}


VISION_EXPERTS = {f"model.language_model.layers.{i}.mlp.vision_moe.experts" for i in range(2)}


def test_experts_of_one_modality_see_its_tokens_only() -> None:
    observation = generate(vision_model("ernie4_5_vl_moe"), **image_inputs("ernie4_5_vl_moe"))
    text = {key: {4: 12} for key in TEXT_EXPERTS}
    image = {key: {4: 8} for key in VISION_EXPERTS}
    assert observation.by_layer("text") == text
    assert observation.by_layer("image") == image
    assert observation.by_layer() == text | image
    assert observation.by_layer(phase="decode") == {key: {4: 4} for key in TEXT_EXPERTS}
    assert observation.layers[min(TEXT_EXPERTS)].histogram("padding", None) == {4: 2}
    assert observation.missed_tokens() == {}


def test_no_text_token_is_demanded_of_vision_experts() -> None:
    model = vision_model("ernie4_5_vl_moe")
    observation = generate(model, input_ids=torch.tensor([[5, 6, 7]]))
    assert observation.by_layer() == {key: {4: 5} for key in TEXT_EXPERTS}
    assert observation.missed_tokens() == {}


def test_image_tokens_that_pass_by_the_vision_experts_are_missed() -> None:
    model, inputs = vision_model("ernie4_5_vl_moe"), image_inputs("ernie4_5_vl_moe")
    del inputs["moe_mm_token_type_ids"]
    with torch.no_grad(), observe(model) as pending:
        model(**inputs)
    observation = pending.result()
    assert observation.by_layer("image") == {key: {} for key in VISION_EXPERTS}
    assert observation.missed_tokens() == dict.fromkeys(VISION_EXPERTS, 8)
