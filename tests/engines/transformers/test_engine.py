"""The transformers engine on the embedded model: encoding, generating, scoring, verifying."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image, ImageDraw

from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import (
    InvalidArgumentError,
    InvalidExpertCountError,
    NotAnMoEError,
    NotFiniteError,
    UserError,
)
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.testing import tiny_moe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


GREEDY = {"do_sample": False, "max_new_tokens": 4}


PROMPT = "\nAnswer the question using a single word or phrase."


def drawing(colour: str, shape: str = "ellipse") -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    getattr(ImageDraw.Draw(image), shape)((18, 18, 42, 42), fill=colour)
    return image


def ask(question: str, image: Image.Image | None = None) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": question + PROMPT}]
    if image is not None:
        parts.insert(0, {"type": "image", "image": image})
    return [{"role": "user", "content": parts}]


COLOUR = "What color is the shape?"


@pytest.fixture(scope="module")
def engine() -> Iterator[HFEngine]:
    engine = HFEngine(EngineOptions("demo", experts_k=4, dtype="float32"))
    yield engine
    engine.close()


@pytest.fixture
def text_checkpoint(tmp_path: Path) -> Path:
    """A tiny text-only MoE with the embedded model's tokenizer and no chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    tokenizer.chat_template = None
    tiny_moe(vocab_size=len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_it_sees_the_image(engine: HFEngine) -> None:
    conversations = [ask(COLOUR, drawing(colour)) for colour in ("red", "blue")]
    answers = engine.generate(engine.encode(conversations), GREEDY)
    assert [answer.text for answer in answers] == ["red", "blue"]
    assert [answer.n_output_tokens for answer in answers] == [2, 2]


def test_a_batch_answers_as_its_members_do_alone(engine: HFEngine) -> None:
    conversations = [
        ask(COLOUR, drawing("red")),
        ask("Is there a green rectangle in the image?", drawing("green", "rectangle")),
        ask("What shape is in the image?", drawing("teal", "rectangle")),
    ]
    together = engine.encode(conversations)
    alone = [engine.encode([conversation]) for conversation in conversations]
    assert together.n_input_tokens == tuple(one.n_input_tokens[0] for one in alone)
    assert engine.generate(together, GREEDY) == [engine.generate(one, GREEDY)[0] for one in alone]


def test_verification_counts_image_and_text_tokens(engine: HFEngine) -> None:
    verified = engine.verify([ask(COLOUR, drawing("red")), ask("Hello?", drawing("blue"))])
    assert (verified.requested, verified.observed, verified.baseline) == (4, 4, 8)
    assert verified.n_layers == 4
    assert verified.n_image_tokens == 2 * 16
    assert verified.n_text_tokens > verified.n_image_tokens


def test_a_router_that_lost_its_k_is_caught(engine: HFEngine) -> None:
    router = engine.model.model.language_model.layers[2].mlp.gate
    router.top_k = 8
    try:
        with pytest.raises(OverrideNotEffectiveError, match="in 1 of 4 MoE layers"):
            engine.verify([ask(COLOUR, drawing("red"))])
    finally:
        router.top_k = 4


def test_close_restores_the_published_k() -> None:
    engine = HFEngine(EngineOptions("demo", experts_k=1))
    engine.close()
    assert engine.model.config.text_config.num_experts_per_tok == 8
    assert engine.model.model.language_model.layers[0].mlp.gate.top_k == 8


def test_a_stop_string_ends_the_answer_and_is_cut_off(engine: HFEngine) -> None:
    encoded = engine.encode([ask(COLOUR, drawing("red")), ask(COLOUR, drawing("blue"))])
    red, blue = engine.generate(encoded, GREEDY, until=["ed"])
    assert (red.text, blue.text) == ("r", "blue")
    assert (red.n_output_tokens, blue.n_output_tokens) == (1, 2)


def test_loglikelihood_prefers_what_the_model_answers(engine: HFEngine) -> None:
    conversation = ask(COLOUR, drawing("red"))
    encoded = engine.encode([conversation])
    right, wrong = engine.score(encoded, "red"), engine.score(encoded, "blue")
    assert wrong.log_probability < right.log_probability < 0
    assert right.is_greedy
    assert not wrong.is_greedy


def test_loglikelihood_equals_the_steps_one_by_one(engine: HFEngine) -> None:
    conversation = ask(COLOUR, drawing("red"))
    total = 0.0
    encoded = dict(engine.encode([conversation]).tensors)
    with torch.no_grad():
        for token_id in engine.tokenizer("circle red")["input_ids"]:
            step = engine.model(**encoded).logits[0, -1].log_softmax(-1)
            total += float(step[token_id])
            token = torch.tensor([[token_id]])
            encoded["input_ids"] = torch.cat([encoded["input_ids"], token], 1)
            for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0)):
                more = torch.full_like(token, fill, dtype=encoded[name].dtype)
                encoded[name] = torch.cat([encoded[name], more], 1)
    scored = engine.score(engine.encode([conversation]), "circle red")
    assert scored.log_probability == pytest.approx(total, abs=1e-4)
    assert scored.n_input_tokens == encoded["input_ids"].shape[1]


@pytest.mark.parametrize(
    ("k", "error"), [(0, InvalidExpertCountError), (999, InvalidExpertCountError)]
)
def test_a_wrong_k_is_refused_before_weights_are_read(
    tmp_path: Path, k: int, error: type[UserError]
) -> None:
    (tmp_path / "config.json").write_bytes((MODEL_PATH / "config.json").read_bytes())
    with pytest.raises(error, match="has 32 experts per layer"):
        HFEngine(EngineOptions(str(tmp_path), experts_k=k))


def test_a_dense_model_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    from transformers import Qwen3Config

    Qwen3Config().save_pretrained(tmp_path)
    with pytest.raises(NotAnMoEError, match="qwen3, which is a dense model"):
        HFEngine(EngineOptions(str(tmp_path), experts_k=2))


def test_a_text_model_answers_text(text_checkpoint: Path) -> None:
    engine = HFEngine(EngineOptions(str(text_checkpoint), experts_k=1))
    answers = engine.generate(engine.encode([ask("Hello?"), ask("Is it red?")]), GREEDY)
    assert all(1 <= answer.n_output_tokens <= 4 for answer in answers)
    assert engine.verify([ask("Hello?")]).observed == 1


def test_a_dense_model_runs_as_a_reference(text_checkpoint: Path) -> None:
    tiny_moe("qwen3", vocab_size=512).save_pretrained(text_checkpoint)
    engine = HFEngine(EngineOptions(str(text_checkpoint)))
    verified = engine.verify([ask("Hello?")])
    assert (verified.requested, verified.baseline, verified.observed) == (None, None, None)
    assert engine.generate(engine.encode([ask("Hello?")]), GREEDY)[0].n_output_tokens >= 1


def test_a_text_model_refuses_images(text_checkpoint: Path) -> None:
    engine = HFEngine(EngineOptions(str(text_checkpoint)))
    with pytest.raises(InvalidArgumentError, match="reads text only"):
        engine.encode([ask("Hello?", drawing("red"))])


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_k_is_observed_with_each_experts_implementation(implementation: str) -> None:
    options = EngineOptions("demo", experts_k=3, experts_implementation=implementation)
    assert HFEngine(options).verify([ask(COLOUR, drawing("red"))]).observed == 3


def test_the_number_of_pixels_can_be_limited() -> None:
    image = drawing("red").resize((256, 256))
    small = HFEngine(EngineOptions("demo"))
    large = HFEngine(EngineOptions("demo", min_pixels=128 * 128, max_pixels=128 * 128))
    n_small, n_large = (e.encode([ask(COLOUR, image)]).n_input_tokens[0] for e in (small, large))
    assert n_large - n_small == 64 - 16


def test_pixels_are_no_option_of_a_text_model(text_checkpoint: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="min_pixels and max_pixels"):
        HFEngine(EngineOptions(str(text_checkpoint), max_pixels=100))


def test_generation_settings_of_a_checkpoint_change_no_answer(
    engine: HFEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(MODEL_PATH, tmp_path, dirs_exist_ok=True)
    settings = {
        "do_sample": True,
        "eos_token_id": [2, 5],
        "num_return_sequences": 2,
        "return_dict_in_generate": True,
        "output_scores": True,
        "stop_strings": ["e"],
        "num_beams": 4,
        "min_new_tokens": 4,
        "no_repeat_ngram_size": 1,
    }
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    other = HFEngine(EngineOptions(str(tmp_path), experts_k=4, dtype="float32"))
    asked = [ask(COLOUR, drawing(colour)) for colour in ("red", "blue")]
    expected = engine.generate(engine.encode(asked), GREEDY)
    assert other.generate(other.encode(asked), GREEDY) == expected
    assert "sets min_new_tokens=4, no_repeat_ngram_size=1, num_beams=4, num_return" in caplog.text
    assert other.generation.tokens["eos_token_id"] == [2, 5]


def test_stop_strings_end_no_answer_before_its_least_tokens(engine: HFEngine) -> None:
    encoded = engine.encode([ask(COLOUR, drawing("red"))])
    (answer,) = engine.generate(encoded, {**GREEDY, "min_new_tokens": 3}, until=["r"])
    assert (answer.text, answer.n_output_tokens >= 3) == ("", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("language_model.norm", float("nan")),
        ("language_model.layers.1.mlp.gate", float("inf")),
        ("visual.merger.norm", float("nan")),
    ],
)
def test_a_model_that_computes_nan_is_refused_with_its_first_module(
    engine: HFEngine, name: str, value: float
) -> None:
    weight = engine.model.model.get_submodule(name).weight.data
    kept = weight.clone()
    weight.fill_(value)
    try:
        with pytest.raises(NotFiniteError, match=f"not finite is model.{name}"):
            engine.verify([ask(COLOUR, drawing("red"))])
        scored = engine.score(engine.encode([ask(COLOUR, drawing("red"))]), "red")
        assert (scored.log_probability, scored.is_finite) == (float("-inf"), False)
    finally:
        weight.copy_(kept)


def test_an_answer_from_nan_is_empty_and_the_others_stay(engine: HFEngine) -> None:
    encoded = engine.encode([ask(COLOUR, drawing("red")), ask(COLOUR, drawing("blue"))])

    def spoil(_module: Any, _args: Any, logits: torch.Tensor) -> None:
        logits[0].fill_(torch.nan)

    hook = engine.model.lm_head.register_forward_hook(spoil)
    sampled = {**GREEDY, "do_sample": True, "temperature": 0.1}
    try:
        for arguments in (GREEDY, sampled):
            bad, good = engine.generate(encoded, arguments)
            assert (bad.text, bad.is_finite) == ("", False)
            assert (good.text, good.is_finite) == ("blue", True)
    finally:
        hook.remove()
