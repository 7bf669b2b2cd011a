"""A real vLLM in this process: k as built, as observed, and as answers show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, OverrideError
from tests.adapters.easy_requests import messages, questions

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.model_adapters.vllm_engine import Prompt, VLLMEngine

    Start = Callable[..., VLLMEngine]

pytestmark = pytest.mark.needs_vllm
GREEDY = {"max_tokens": 4, "temperature": 0.0}


def conversation(doc: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a question as the adapter gives it to an engine."""
    (message,) = messages(doc)
    image, text = message["content"]
    return [{**message, "content": [{"type": "image", "image": image["url"]}, text]}]


def prompts(n: int = 6, continuation: str | None = None) -> list[Prompt]:
    from moe_eval_plugin.model_adapters.vllm_engine import Prompt

    return [Prompt(lambda doc=doc: conversation(doc), GREEDY, continuation) for doc in questions(n)]


def conversations(n: int = 3) -> list[Any]:
    return [lambda doc=doc: conversation(doc) for doc in questions(n)]


def held(engine: VLLMEngine) -> set[int]:
    """Collect every k that the layers and kernels of an engine hold."""
    return {k for layer in engine.workers.layers for k in layer["k"].values()}


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_k_is_that_of_every_layer_and_token_and_the_scores_are_those_of_transformers(
    start_engine: Start, k: int
) -> None:
    from moe_eval_plugin.model_adapters.hf_engine import EngineOptions, HFEngine

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
        assert answer.times.n_output_tokens == 2
        assert answer.times.n_input_tokens > 16
        assert 0 < answer.times.prefill_s < answer.times.ttft_s + answer.times.decode_s


def test_without_experts_k_the_model_runs_as_published(start_engine: Start) -> None:
    engine = start_engine(None)
    assert held(engine) == {8}
    experts = engine.verify(conversations())
    assert (experts.requested, experts.observed, experts.experts_k) == (None, 8, None)


def test_each_layer_gets_its_own_k(start_engine: Start) -> None:
    engine = start_engine("0-1:8/2-3:2")
    experts = engine.verify(conversations())
    observed = [
        layer["observed_num_experts_per_tok"]["prefill"]["image"]
        for layer in experts.routing["layers"].values()
    ]
    assert observed == [8, 8, 2, 2]
    assert experts.requested is None
    assert experts.observed == 5


def test_observing_leaves_no_trace_in_the_engine(start_engine: Start) -> None:
    engine = start_engine(2)
    before = [answer.text for _, answer in sorted(engine.run(prompts(), at_once=1), key=_place)]
    engine.verify(conversations())

    def leftovers(worker: Any) -> list[Any]:
        from moe_eval_plugin.vllm_worker import find_layers

        runner = worker.model_runner
        layers = [layer.router.capture_fn for _, layer in find_layers(runner.get_model())]
        return [*filter(None, layers), *({"execute_model"} & vars(runner).keys())]

    assert engine.llm.collective_rpc(leftovers) == [[]]
    after = [answer.text for _, answer in sorted(engine.run(prompts(), at_once=1), key=_place)]
    assert after == before


def test_a_k_that_was_changed_behind_our_back_is_found(start_engine: Start) -> None:
    engine = start_engine(4)

    def change(worker: Any) -> None:
        from moe_eval_plugin.vllm_worker import find_layers

        _, layer = next(iter(find_layers(worker.model_runner.get_model())))
        layer.router.top_k = 3

    engine.llm.collective_rpc(change)
    with pytest.raises(OverrideError, match=r"layers\.0\.mlp\.experts: 4 asked for, observed 3"):
        engine.verify(conversations())
    with pytest.raises(OverrideError, match=r"Router\.top_k is 3, 4 asked for"):
        engine.workers.check_layers()


def test_a_vllm_that_is_kept_from_our_plugin_is_refused(
    start_engine: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe_eval_plugin._vllm.k_of_layer", lambda *_: None)
    with pytest.raises(OverrideError, match=r"experts_per_token is 8, 4 asked for"):
        start_engine(4)


def test_expert_parallel_is_refused_on_a_cpu_where_vllm_would_crash(start_engine: Start) -> None:
    with pytest.raises(InvalidArgumentError, match="Use tensor_parallel_size alone, or GPUs"):
        start_engine(4, enable_expert_parallel=True, tensor_parallel_size=2)


def test_a_question_that_does_not_fit_and_a_broken_image_cost_no_other_answer(
    start_engine: Start,
) -> None:
    from moe_eval_plugin.model_adapters.vllm_engine import Prompt

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


def test_verification_by_the_configuration_alone_says_so(start_engine: Start) -> None:
    experts = start_engine(2, verify="config").verify(conversations())
    assert experts.observed is None
    assert experts.requested == 2
    assert experts.routing["verification"] == "config"
    assert set(map(tuple, experts.routing["k_of_kernels"].values())) == {(2,)}


def _place(pair: tuple[int, Any]) -> int:
    return pair[0]


def test_a_live_change_gives_what_a_new_engine_gives(start_engine: Start) -> None:
    expected = dict(start_engine(1).run(prompts(6, "circle"), at_once=1))
    engine = start_engine(8, enable_prefix_caching=True)
    engine.verify(conversations())
    dict(engine.run(prompts(6, "circle"), at_once=1))
    engine.set_k(1)
    assert engine.verify(conversations()).observed == 1
    changed = dict(engine.run(prompts(6, "circle"), at_once=1))
    for place in range(6):
        assert changed[place].log_probability == pytest.approx(
            expected[place].log_probability, abs=1e-5
        )


def test_verification_skips_what_cannot_be_asked_and_takes_the_next(start_engine: Start) -> None:
    def broken() -> list[Any]:
        message = "cannot identify image file"
        raise OSError(message)

    experts = start_engine(2).verify([broken, *conversations(6)])
    assert experts.n_image_tokens == 4 * 16
