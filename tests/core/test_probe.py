"""The probe counts experts per token, by modality and phase, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    DynamicCache,
    PreTrainedModel,
    StaticCache,
)

from moe_eval_plugin import probe
from moe_eval_plugin.layer_observation import TokenCount
from moe_eval_plugin.observation import FedCount, merge
from moe_eval_plugin.passes import phase_of
from moe_eval_plugin.testing import tiny_moe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.observation import Observation

NUM_EXPERTS = 6
IMAGE = 50


class FakeMoE(torch.nn.Module):
    """Hands a prepared choice to its experts, as a router does."""

    class TinyExperts(torch.nn.Module):
        num_experts = NUM_EXPERTS

        def forward(self, hidden: torch.Tensor, _index: torch.Tensor) -> torch.Tensor:
            return hidden

    def __init__(self, block: str | None = None) -> None:
        super().__init__()
        self.experts_path = f"{block}.experts" if block else "experts"
        experts = {"experts": self.TinyExperts()}
        self.add_module(*({block: torch.nn.ModuleDict(experts)} if block else experts).popitem())
        self.config = type("Config", (), {"image_token_id": 9})()

    def forward(
        self, input_ids: torch.Tensor, choice: torch.Tensor, **_inputs: object
    ) -> torch.Tensor:
        experts = self.get_submodule(self.experts_path)
        return experts(torch.zeros(input_ids.numel(), 2), choice)


def ids(*tokens: int) -> torch.Tensor:
    return torch.tensor([tokens])


rows = st.lists(
    st.lists(st.integers(-1, NUM_EXPERTS + 1), min_size=3, max_size=3), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=50)
@given(passes=st.lists(rows, min_size=1, max_size=4))
def test_counts_are_those_of_sets(passes: list[list[list[int]]]) -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        for choices in passes:
            model(input_ids=ids(*([5] * len(choices))), choice=torch.tensor(choices))
    used = [[{e for e in row if 0 <= e < NUM_EXPERTS} for row in choices] for choices in passes]
    histogram: dict[int, int] = {}
    for experts in (experts for of_pass in used for experts in of_pass):
        histogram[len(experts)] = histogram.get(len(experts), 0) + 1
    observation = pending.result()
    layer = observation.layers["experts"]
    assert observation.by_layer() == {"experts": histogram}
    everything = [expert for of_pass in used for experts in of_pass for expert in experts]
    assert layer.load == tuple(everything.count(expert) for expert in range(NUM_EXPERTS))
    distinct = [len(set().union(*of_pass)) for of_pass in used]
    step = layer.distinct_per_step("prefill")
    assert step is not None
    assert step[1:] == (len(passes), sum(distinct), min(distinct), max(distinct))
    assert layer.distinct_per_step("decode") is None


def test_image_text_and_padding_are_kept_apart() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
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


def test_passes_with_different_k_add_up() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        model(input_ids=ids(5), choice=torch.tensor([[1, 2, 3]]))
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert pending.result().by_layer() == {"experts": {3: 1, 1: 1}}


def test_the_result_can_be_asked_for_while_counting_goes_on() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        assert pending.result().by_layer() == {"experts": {}}
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
        first = pending.result()
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert first.by_layer() == {"experts": {1: 1}}
    assert pending.result().by_layer() == {"experts": {1: 2}}


def test_rows_that_are_no_tokens_count_as_text() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        model(input_ids=ids(9, 9), choice=torch.tensor([[1], [1], [1]]))
        model(input_ids=ids(9, 9), choice=torch.tensor([[1]]))
        model(torch.zeros(1, 2, 4), torch.tensor([[1], [1]]))
    assert pending.result().by_layer("text") == {"experts": {1: 6}}
    assert pending.result().fed == (FedCount("prefill", "image", 4),)


def test_a_pass_without_rows_for_a_layer_is_no_step_of_it() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        model(input_ids=ids(5), choice=torch.empty(0, 2, dtype=torch.long))
    assert pending.result().layers["experts"].steps == ()


def test_embeddings_count_as_text_tokens() -> None:
    model = tiny_moe()
    with probe.observe(model) as pending:
        model(inputs_embeds=torch.zeros(2, 3, 32))
    assert pending.result().n_tokens("text") == 6


def test_counting_never_waits_for_the_device() -> None:
    """A tensor on the meta device has no values: whoever asks for one gets an error."""
    for model in (FakeMoE(), FakeMoE("vision_moe"), FakeMoE("text_moe")):
        with torch.device("meta"), probe.observe(model) as pending:
            tokens, index = (torch.empty(1, 4, dtype=torch.long), torch.empty(4, 3).long())
            mask = torch.ones_like(tokens)
            model(tokens, index, attention_mask=mask)
            model(tokens, index[:2], attention_mask=mask)
        with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
            pending.result()


def test_tables_do_not_grow_with_tokens() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        sizes = []
        for n_tokens in (1, 1000):
            model(ids(*([5] * n_tokens)), torch.zeros(n_tokens, 4, dtype=torch.long))
            (tally,) = pending._tallies
            sizes.append([table.numel() for table in vars(tally._tables).values()])
    assert sizes[0] == sizes[1]


def test_one_observer_may_span_inference_mode_and_training() -> None:
    model = tiny_moe()
    tokens = torch.arange(2, 14).reshape(2, 6)
    with probe.observe(model) as pending:
        with torch.inference_mode():
            model(input_ids=tokens)
        model(input_ids=tokens).logits.sum().backward()
        with torch.inference_mode():
            model(input_ids=tokens)
    assert all(seen == {4: 36} for seen in pending.result().by_layer().values())


def test_observers_do_not_disturb_each_other() -> None:
    model = FakeMoE()
    with probe.observe(model) as outer:
        model(input_ids=ids(5), choice=torch.tensor([[1, 2]]))
        with probe.observe(model) as inner:
            model(input_ids=ids(5), choice=torch.tensor([[1]]))
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert inner.result().by_layer() == {"experts": {1: 1}}
    assert outer.result().by_layer() == {"experts": {1: 2, 2: 1}}


def test_merged_parts_are_the_whole() -> None:
    model = tiny_moe()
    batches = [torch.randint(2, 60, (2, 5)) for _ in range(3)]
    parts = []
    with torch.no_grad(), probe.observe(model) as whole:
        for batch in batches:
            with probe.observe(model) as part:
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
    with probe.observe(model):
        assert list(hooks_of(model)) != before
    with pytest.raises(RuntimeError), probe.observe(model):
        raise RuntimeError
    assert list(hooks_of(model)) == before


def test_hooks_are_gone_if_a_module_cannot_be_watched() -> None:
    model = tiny_moe()
    before = list(hooks_of(model))

    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError

    model.model.layers[2].mlp.experts.register_forward_pre_hook = fail
    with pytest.raises(RuntimeError), probe.observe(model):
        pass
    assert list(hooks_of(model)) == before


def test_a_failed_forward_pass_does_not_confuse_the_next() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        with pytest.raises(TypeError):
            model(input_ids=ids(9))
        model(input_ids=ids(9), choice=torch.tensor([[1]]))
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert pending.result().by_layer("image") == {"experts": {1: 1}}
    assert pending.result().by_layer("text") == {"experts": {1: 1}}


def test_every_moe_layer_is_found_and_shared_experts_are_not() -> None:
    model = tiny_moe("deepseek_v2", n_routed_experts=8, n_shared_experts=1, first_k_dense_replace=1)
    assert list(probe.find_experts(model)) == [f"model.layers.{i}.mlp.experts" for i in (1, 2)]


def test_a_dense_model_has_tokens_and_no_layers() -> None:
    model = tiny_moe("llama")
    with probe.observe(model) as pending:
        model(input_ids=torch.tensor([[3, 4]]))
    assert pending.result().layers == {}
    assert pending.result().n_tokens("text") == 2


def filled(cache: DynamicCache | StaticCache) -> DynamicCache | StaticCache:
    states = torch.zeros(1, 1, 5, 4)
    cache.update(states, states, 0)
    return cache


CONFIG = AutoConfig.for_model("qwen3_moe", num_hidden_layers=1)


@pytest.mark.parametrize("cache_name", ["cache", "past_key_values", "cache_params"])
@pytest.mark.parametrize(
    ("args", "kwargs", "phase"),
    [
        ((ids(5),), {}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": None}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": DynamicCache()}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": filled(DynamicCache())}, "decode"),
        ((ids(5), None, None, filled(DynamicCache())), {}, "decode"),
        ((), {"input_ids": ids(5, 6), "CACHE": filled(DynamicCache())}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": StaticCache(CONFIG, 8)}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": filled(StaticCache(CONFIG, 8))}, "decode"),
        ((), {"input_ids": ids(5), "CACHE": ((ids(1), ids(1)),)}, "decode"),
        ((), {"input_ids": ids(5), "CACHE": ()}, "prefill"),
        (
            (),
            {"inputs_embeds": torch.zeros(2, 1, 4), "CACHE": filled(DynamicCache())},
            "decode",
        ),
        ((), {"CACHE": filled(DynamicCache())}, "prefill"),
    ],
)
def test_decode_is_one_new_token_behind_a_filled_cache(
    cache_name: str, args: tuple[Any, ...], kwargs: dict[str, Any], phase: str
) -> None:
    named = {cache_name if name == "CACHE" else name: value for name, value in kwargs.items()}
    assert phase_of(args, named) == phase


@torch.no_grad()
def generate(model: PreTrainedModel, **inputs: Any) -> Observation:
    with probe.observe(model) as pending:
        # A model with random weights might answer with an image token.
        options = {"min_new_tokens": 3, "max_new_tokens": 3, "suppress_tokens": [IMAGE]}
        model.generate(**inputs, **options, do_sample=False)
    return pending.result()


def test_a_generation_has_one_prefill_and_a_decode_step_per_further_token() -> None:
    tokens = torch.tensor([[0, 0, 3, 4, 5], [6, 7, 8, 9, 10]])
    observation = generate(tiny_moe(), input_ids=tokens, attention_mask=tokens != 0)
    assert observation.fed == (
        FedCount("decode", "text", 4),
        FedCount("prefill", "padding", 2),
        FedCount("prefill", "text", 8),
    )
    assert observation.missed_tokens() == {}
    for layer in observation.layers.values():
        steps = [layer.distinct_per_step(phase) for phase in ("prefill", "decode")]
        assert [step and step.n_steps for step in steps] == [1, 2]
        assert steps[1] is not None
        assert 4 <= steps[1].smallest <= steps[1].largest <= 8


def test_phases_with_a_static_cache() -> None:
    tokens = torch.tensor([[3, 4, 5], [6, 7, 8]])
    observation = generate(tiny_moe(), input_ids=tokens, cache_implementation="static")
    assert observation.fed == (FedCount("decode", "text", 4), FedCount("prefill", "text", 6))


def test_phases_of_a_model_whose_first_layer_has_no_kv_cache() -> None:
    model = tiny_moe(
        "granitemoehybrid",
        num_local_experts=8,
        layer_types=["mamba", "attention"],
        num_hidden_layers=2,
        shared_intermediate_size=16,
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
    )
    observation = generate(model, input_ids=torch.tensor([[3, 4, 5]]))
    assert observation.n_tokens("text", "prefill") == 3
    assert observation.n_tokens("text", "decode") == 2


def test_phases_of_a_model_without_any_kv_cache() -> None:
    model = tiny_moe("mamba", state_size=4)
    observation = generate(model, input_ids=torch.tensor([[3, 4, 5]]))
    assert observation.n_tokens("text", "prefill") == 3
    assert observation.n_tokens("text", "decode") == 2


def test_without_a_cache_every_step_is_a_prefill() -> None:
    observation = generate(tiny_moe(), input_ids=torch.tensor([[3, 4, 5]]), use_cache=False)
    assert observation.n_tokens("text", "decode") == 0
    assert observation.n_tokens("text", "prefill") == 3 + 4 + 5


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
    kinds = (tokens == IMAGE).long()
    inputs = {
        "input_ids": tokens,
        "attention_mask": (tokens != 0).long(),
        "pixel_values": torch.randn(32, 3 * depth * 16),
        "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4]]),
        "mm_token_type_ids": kinds,
    }
    return inputs | ({"moe_mm_token_type_ids": kinds} if depth == 1 else {})


def test_an_image_is_told_from_text_in_a_vision_language_model() -> None:
    observation = generate(vision_model("qwen3_vl_moe"), **image_inputs("qwen3_vl_moe"))
    assert observation.fed == (
        FedCount("decode", "text", 4),
        FedCount("prefill", "image", 8),
        FedCount("prefill", "padding", 2),
        FedCount("prefill", "text", 8),
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
    with torch.no_grad(), probe.observe(model) as pending:
        model(**inputs)
    observation = pending.result()
    assert observation.by_layer("image") == {key: {} for key in VISION_EXPERTS}
    assert observation.missed_tokens() == dict.fromkeys(VISION_EXPERTS, 8)
