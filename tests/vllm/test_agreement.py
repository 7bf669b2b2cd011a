"""The two backends answer alike: 500 questions about images, at each k, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts.lmms_eval.easy_requests import questions
from tests.vllm.vllm_prompts import GREEDY, conversation, conversations

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.engines.vllm.engine import VLLMEngine

    Start = Callable[..., VLLMEngine]

pytestmark = pytest.mark.needs_vllm
N_QUESTIONS = 500
BATCH_SIZE = 20
LEAST_SHARE = 0.99


@pytest.fixture(scope="module")
def transformers_engine() -> HFEngine:
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.engines.transformers.options import EngineOptions

    return HFEngine(EngineOptions("demo", dtype="float32"))


def test_answers_are_those_of_transformers_at_each_k(
    start_engine: Start, transformers_engine: HFEngine
) -> None:
    engine = start_engine(8)
    answers = {}
    for k in (8, 4, 2, 1):
        engine.set_k(k)
        assert engine.verify(conversations()).observed == k
        ours = by_vllm(engine)
        transformers_engine.set_experts(k)
        theirs = by_transformers(transformers_engine)
        share = sum(a == b for a, b in zip(ours, theirs, strict=True)) / N_QUESTIONS
        assert share >= LEAST_SHARE, f"k={k}: {share:.1%} of the answers are equal"
        answers[k] = ours
    # Were k without effect on both, they would agree as well.
    changed = sum(a != b for a, b in zip(answers[8], answers[1], strict=True)) / N_QUESTIONS
    assert changed > 1 - LEAST_SHARE


def by_vllm(engine: VLLMEngine) -> list[str]:
    from moe_eval_plugin.engines.vllm.messages import Prompt

    docs = questions(N_QUESTIONS)
    prompts = (Prompt(lambda doc=doc: conversation(doc), GREEDY) for doc in docs)
    answers = dict(engine.run(prompts, at_once=None))
    return [answers[place].text for place in range(N_QUESTIONS)]


def by_transformers(engine: HFEngine) -> list[str]:
    docs, texts = questions(N_QUESTIONS), []
    for begin in range(0, N_QUESTIONS, BATCH_SIZE):
        encoded = engine.encode([conversation(doc) for doc in docs[begin : begin + BATCH_SIZE]])
        generated = engine.generate(encoded, {"max_new_tokens": 4, "do_sample": False})
        texts += [answer.text for answer in generated]
    return texts
