"""A real vLLM in this process: k as built, as observed, and as answers show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from tests.hosts.lmms_eval.easy_requests import questions
from tests.vllm.vllm_prompts import GREEDY, conversation, conversations, prompts

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.vllm.engine import VLLMEngine

    Start = Callable[..., VLLMEngine]


pytestmark = pytest.mark.needs_vllm


def held(engine: VLLMEngine) -> set[int]:
    """Collect every k that the layers and kernels of an engine hold."""
    return {k for layer in engine.workers.layers for k in layer["k"].values()}


@pytest.mark.parametrize("k", [1, 2, 8, 4])
def test_k_is_that_of_every_layer_and_token_and_the_scores_are_those_of_transformers(
    start_engine: Start, k: int
) -> None:
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.engines.transformers.options import EngineOptions

    engine = start_engine(k)
    assert held(engine) == {k}
    experts = engine.verify(conversations())
    assert (experts.requested, experts.observed, experts.baseline) == (k, k, 8)
    assert experts.n_layers == 4
    assert experts.n_image_tokens == 3 * 16
    scored = dict(engine.run(prompts(6, "circle"), at_once=None))
    reference = HFEngine(EngineOptions("demo", experts_k=k, dtype="float32"))
    for place, doc in enumerate(questions(6)):
        expected = reference.score(reference.encode([conversation(doc)]), "circle")
        assert scored[place].log_probability == pytest.approx(expected.log_probability, abs=1e-3)
        assert scored[place].is_greedy == expected.is_greedy
        assert scored[place].times.n_input_tokens == expected.n_input_tokens
    reference.close()


def test_answers_come_with_their_place_their_tokens_and_their_times(start_engine: Start) -> None:
    engine = start_engine(4)
    few = dict(engine.run(prompts(12), at_once=2))
    all_at_once = dict(engine.run(prompts(12), at_once=None))
    assert [few[i].text for i in range(12)] == [all_at_once[i].text for i in range(12)]
    assert len({answer.text for answer in few.values()}) > 2
    for answer in few.values():
        assert answer.ended_by == "end_token"
        assert answer.times.n_output_tokens == 2
        assert answer.times.n_input_tokens > 16
        assert 0 < answer.times.prefill_s < answer.times.ttft_s + answer.times.decode_s


@pytest.mark.parametrize(
    ("sampling", "ended_by"),
    [({"max_tokens": 1}, "token_limit"), ({"max_tokens": 4, "stop": ["r", "b"]}, "stop_string")],
)
def test_what_ended_an_answer_is_known(
    start_engine: Start, sampling: dict[str, Any], ended_by: str
) -> None:
    from moe_eval_plugin.engines.vllm.engine import Prompt

    asked = questions(3)[2]
    prompt = Prompt(lambda: conversation(asked), {"temperature": 0.0, **sampling})
    ((_, answer),) = start_engine(4).run([prompt], at_once=None)
    assert answer.ended_by == ended_by


def test_a_question_that_does_not_fit_and_a_broken_image_cost_no_other_answer(
    start_engine: Start,
) -> None:
    from moe_eval_plugin.engines.vllm.messages import Prompt

    engine = start_engine(4)
    long = questions(1)[0] | {"question": "what shape is it? " * 60}
    good, _, fine = prompts(3)

    def broken() -> list[Any]:
        message = "cannot identify image file"
        raise OSError(message)

    mixed = [good, Prompt(lambda: conversation(long), GREEDY), Prompt(broken, GREEDY), fine]
    answers = dict(engine.run(mixed, at_once=None))
    assert "128" in answers[1].error
    assert "token" in answers[1].error
    assert "cannot identify image file" in answers[2].error
    assert answers[1].text == answers[2].text == ""
    expected = dict(engine.run(prompts(3), at_once=1))
    assert answers[0].text == expected[0].text
    assert answers[3].text == expected[2].text


def test_without_experts_k_the_model_runs_as_published(start_engine: Start) -> None:
    engine = start_engine(None)
    assert held(engine) == {8}
    experts = engine.verify(conversations())
    assert (experts.requested, experts.observed, experts.experts_k) == (None, 8, None)


def test_expert_parallel_is_refused_on_a_cpu_where_vllm_would_crash(start_engine: Start) -> None:
    with pytest.raises(InvalidArgumentError, match="Use tensor_parallel_size alone, or GPUs"):
        start_engine(4, enable_expert_parallel=True, tensor_parallel_size=2)


@pytest.mark.parametrize("think", [True, False])
def test_a_prompt_has_the_tokens_of_transformers_whatever_is_passed_to_the_template(
    start_engine: Start, monkeypatch: pytest.MonkeyPatch, *, think: bool
) -> None:
    from transformers import AutoProcessor

    from moe_eval_plugin.engines.chat_template import ChatTemplate
    from moe_eval_plugin.engines.transformers.encoding import encode
    from moe_eval_plugin.engines.vllm.messages import rendered_prompt
    from moe_eval_plugin.models.demo import MODEL_PATH

    engine = start_engine(4)
    processor = AutoProcessor.from_pretrained(MODEL_PATH)
    processor.chat_template += "{% if enable_thinking %}is it red?{% endif %}"
    template = ChatTemplate(processor, "demo", {"enable_thinking": think})
    monkeypatch.setattr(engine.llm, "chat_template", template.text)
    asked = conversation(questions(1)[0])
    expected = encode(template, [asked], takes_images=True).tensors["input_ids"][0].tolist()
    assert rendered_prompt(engine.llm, template, asked)["prompt_token_ids"] == expected
    assert processor.decode(expected).endswith("is it red?") is think
