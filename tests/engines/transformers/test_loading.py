"""Checkpoints that bring their own code run as any other, or are refused before a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from moe_eval_plugin.engines.transformers import engine as engine_module
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.models.inspection.report import inspect_model
from tests.engines.transformers.own_code_checkpoint import write_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

# Code of transformers 4 sets it, as the checkpoint here does.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`rope_scaling` is deprecated:FutureWarning"),
    # Removed in a later release, and only then supplied.
    pytest.mark.filterwarnings("ignore:The attention mask API:FutureWarning"),
]
OWN_PROCESSOR = {
    "processor_class": "TinyProcessor",
    "auto_map": {"AutoProcessor": "modeling_tiny.TinyProcessor"},
}


def ask(*, with_image: bool) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What color is the shape?"}]
    if with_image:
        parts.insert(0, {"type": "image", "image": Image.new("RGB", (64, 64), "red")})
    return [{"role": "user", "content": parts}]


def load(folder: Path, k: int | None = 2) -> HFEngine:
    return HFEngine(EngineOptions(str(folder), experts_k=k, trust_remote_code=True))


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where weights would be loaded."""
    monkeypatch.delattr(engine_module, "load_model")


@pytest.mark.parametrize(
    ("classes", "processor"),
    [
        (["AutoModel", "AutoModelForCausalLM"], OWN_PROCESSOR),  # as Kimi-VL
        (["AutoModelForImageTextToText"], None),
        (["AutoModelForVision2Seq"], None),
        (["AutoModel"], None),  # as DeepSeek-OCR
    ],
)
def test_a_model_with_images_loads_by_the_class_that_it_names(
    tmp_path: Path, classes: list[str], processor: dict[str, Any] | None
) -> None:
    engine = load(write_checkpoint(tmp_path / "vl", classes, processor=processor))
    assert engine.takes_images
    verified = engine.verify([ask(with_image=True), ask(with_image=True)])
    assert (verified.observed, verified.n_layers) == (2, 2)
    # It has no cache, so every pass has the image again.
    assert verified.n_image_tokens % 32 == 0
    assert verified.n_image_tokens > 0
    assert verified.n_text_tokens > 0
    engine.set_experts(6)
    assert engine.verify([ask(with_image=True)]).observed == 6
    engine.close()
    assert {layer.mlp.gate.top_k for layer in engine.model.language_model.layers} == {4}


def test_a_text_model_reads_text_though_its_tokenizer_names_a_processor(tmp_path: Path) -> None:
    engine = load(write_checkpoint(tmp_path / "text", ["AutoModelForCausalLM"], name="Text"))
    assert not engine.takes_images
    assert engine.verify([ask(with_image=False)]).observed == 2
    with pytest.raises(UserError, match="reads text only"):
        engine.encode([ask(with_image=True)])


def test_experts_that_cannot_be_observed_are_not_called_another_number(tmp_path: Path) -> None:
    """Here each expert computes all tokens, and the weights decide."""
    code = """
def dense(self, hidden):
    indices, weights = self.gate(hidden)
    flat = hidden.flatten(end_dim=-2)
    out = sum(e(flat) * (weights * (indices == n)).sum(-1, keepdim=True)
              for n, e in enumerate(self.experts))
    return out.view_as(hidden)


MoE.forward = dense
"""
    folder = write_checkpoint(tmp_path / "dense", ["AutoModel"], name="Text", code=code)
    with pytest.raises(OverrideNotEffectiveError, match="cannot be observed in 2 of 2 MoE layers"):
        load(folder).verify([ask(with_image=False)])
    assert load(folder, None).verify([ask(with_image=False)]).observed is None


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("\nfrom transformers.utils import a_removed_name\n", "cannot import name"),
        ("\nimport a_package_that_is_not_there\n", "a_package_that_is_not_there"),
        ("\nTinyVL.__init__ = lambda self, config: config.rope['type']\n", "AttributeError: "),
        ("\nTinyVLConfig.__init__ = lambda self, **given: 1 / 0\n", "ZeroDivisionError: "),
    ],
)
def test_code_that_fails_is_one_message_before_a_weight_is_read(
    tmp_path: Path, code: str, text: str
) -> None:
    folder = write_checkpoint(tmp_path / "vl", ["AutoModelForCausalLM"])
    with (folder / "modeling_tiny.py").open("a", encoding="utf-8") as file:
        file.write(code)
    with pytest.raises(UserError, match=text) as failed:
        load(folder)
    assert str(folder) in str(failed.value)


def test_code_that_fails_in_its_first_pass_is_one_message_too(tmp_path: Path) -> None:
    """As code that expects the cache of an earlier release does."""
    code = "\n\nLayer.forward = lambda self, hidden: hidden.get_usable_length(1)\n"
    folder = write_checkpoint(tmp_path / "text", ["AutoModelForCausalLM"], name="Text", code=code)
    with pytest.raises(
        UserError, match=r"does not run with transformers .*: AttributeError: .*4\.50\.3"
    ):
        load(folder).verify([ask(with_image=False)])


@pytest.mark.usefixtures("no_weights")
def test_a_processor_that_nothing_defines_is_named_before_a_weight_is_read(tmp_path: Path) -> None:
    """As DeepSeek-VL2 and DeepSeek-OCR name theirs."""
    processor = {"processor_class": "DeepseekVLV2Processor"}
    folder = write_checkpoint(tmp_path / "vl", ["AutoModel"], processor=processor)
    with pytest.raises(UserError, match="has images, and the processor DeepseekVLV2Processor"):
        load(folder)


def test_what_its_code_computes_when_it_is_built_is_there(tmp_path: Path) -> None:
    """transformers leaves such buffers as the memory happens to be."""
    model = load(write_checkpoint(tmp_path / "vl", ["AutoModelForCausalLM"])).model
    for layer in model.language_model.layers:
        torch.testing.assert_close(layer.inv_freq, 1 / 100 ** (torch.arange(4) / 4))
        assert layer.scale.tolist() == [1]


def test_its_parameters_are_counted(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "vl", ["AutoModel"])
    report = inspect_model(str(folder), trust_remote_code=True)
    assert (report.n_moe_layers, report.num_experts, report.parameters_unknown_reason) == (
        2,
        8,
        None,
    )
    assert {layer.num_experts for layer in report.expert_modules} == {8}


EARLIER = """
from transformers.cache_utils import Cache
from transformers.modeling_attn_mask_utils import _prepare_4d_causal_attention_mask
from transformers.utils.import_utils import is_torch_fx_available

assert is_torch_fx_available()


def earlier_forward(
    self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
    use_cache=None, return_dict=None,
):
    hidden = self.embed(input_ids) + position_ids[..., None] / 9
    n_past = past_key_values.get_usable_length(hidden.shape[1]) if use_cache else 0
    mask = _prepare_4d_causal_attention_mask(attention_mask, hidden.shape[:2], hidden, n_past)
    for n, layer in enumerate(self.layers):
        keys = layer.mix(hidden)[:, None]
        values = keys
        if use_cache:
            keys, values = past_key_values.update(keys, values, n, {"sin": None})
        seen = (hidden[:, None] @ keys.mT / 4 + mask).softmax(-1) @ values
        hidden = hidden + seen[:, 0]
        hidden = hidden + layer.mlp(hidden)
    return CausalLMOutputWithPast(logits=self.lm_head(hidden), past_key_values=past_key_values)


def earlier_inputs(
    self, input_ids, past_key_values=None, attention_mask=None, cache_position=None, **kwargs
):
    n_past = 0
    if past_key_values is not None:
        assert isinstance(past_key_values, Cache)
        n_past = past_key_values.seen_tokens
        assert past_key_values.get_max_length() is None
        assert bool(past_key_values) == (n_past > 0)
    assert cache_position.tolist() == list(range(n_past, input_ids.shape[1]))
    position_ids = kwargs.get("position_ids", None)
    if position_ids is None:
        position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, n_past:]
    return {
        "input_ids": input_ids[:, n_past:], "past_key_values": past_key_values,
        "attention_mask": attention_mask, "position_ids": position_ids,
        "use_cache": kwargs.get("use_cache"),
    }


TinyText.forward = earlier_forward
TinyText.prepare_inputs_for_generation = earlier_inputs
TinyText.tie_weights = lambda self: self.get_input_embeddings()
TinyText._supports_sdpa = property(lambda self: self.lm_head.supports_sdpa)
"""
# The cache of transformers 5 under the name that it had before 5.24, and no cache at all: neither
# prepares its inputs, so transformers does.
FIVE = """
def forward(self, input_ids=None, attention_mask=None, past_key_values=None, **kwargs):
    hidden = self.embed(input_ids)
    for n, layer in enumerate(self.layers):
        keys = layer.mix(hidden)[:, None]
        if past_key_values is not None:
            keys, _ = past_key_values.update(keys, keys, n)
        mask = torch.zeros(hidden.shape[0], 1, hidden.shape[1], keys.shape[2])
        mask += torch.full_like(mask, -1e9).triu(1 + keys.shape[2] - hidden.shape[1])
        seen = (hidden[:, None] @ keys.mT / 4 + mask).softmax(-1) @ keys
        hidden = hidden + seen[:, 0]
        hidden = hidden + layer.mlp(hidden)
    return CausalLMOutputWithPast(logits=self.lm_head(hidden), past_key_values=past_key_values)


TinyText.forward = forward
del TinyText.prepare_inputs_for_generation
"""
NONE = "\ndel TinyText.prepare_inputs_for_generation\n"


@pytest.mark.parametrize(
    ("code", "with_padding", "lengths"),
    [(EARLIER, True, [1, 1]), (FIVE, False, [1, 1]), (NONE, False, None)],
    ids=["transformers 4", "transformers 5", "without a cache"],
)
def test_answers_are_those_of_a_full_pass(
    tmp_path: Path, code: str, with_padding: bool, lengths: list[int] | None
) -> None:
    """transformers 5.24 renamed the cache, and cuts the tokens that it takes to be in it."""
    engine = load(write_checkpoint(tmp_path / "t", ["AutoModel"], name="Text", code="\n\n" + code))
    questions = [ask(with_image=False)]
    if with_padding:
        questions.append([{"role": "user", "content": [{"type": "text", "text": "Why?"}]}])
    inputs = dict(engine.encode(questions).tensors)
    n_prompt = inputs["input_ids"].shape[1]
    seen: list[int] = []
    engine.model.embed.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    arguments = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    cached, plain = (
        engine.model.generate(
            **inputs,
            **arguments,
            use_cache=use,
            output_logits=True,
            return_dict_in_generate=True,
        )
        for use in (True, False)
    )
    full = [n_prompt, n_prompt + 1, n_prompt + 2]
    assert seen == [n_prompt, *(lengths or full[1:]), *full]
    assert cached.sequences.tolist() == plain.sequences.tolist()
    torch.testing.assert_close(torch.stack(cached.logits), torch.stack(plain.logits))
    assert engine.verify(questions).observed == 2
