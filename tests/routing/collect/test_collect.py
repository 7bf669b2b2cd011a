"""Traces hold what the models really computed for the prompts that the hosts really ask."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from moe_eval_plugin.errors import InvalidArgumentError, NotAnMoEError
from moe_eval_plugin.hosts.harness import LM_EVAL
from moe_eval_plugin.routing.collect.collect import collect
from moe_eval_plugin.routing.collect.request import RoutingRequest
from tests.hosts.lm_eval.local_tasks import write_tasks
from tests.hosts.lm_eval.tiny_olmoe import PUBLISHED_K, save_olmoe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.routing.trace import RoutingTrace

TASKS = ("choices", "sums", "texts")
FIELDS = ("token_id", "task", "modality", "phase", "question", "position")


@pytest.fixture(scope="module")
def request_of_texts(tmp_path_factory: pytest.TempPathFactory) -> RoutingRequest:
    """A tiny OLMoE and local tasks of lm-eval: multiple choice, answers and perplexity."""
    model = save_olmoe(tmp_path_factory.mktemp("olmoe"))
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    return RoutingRequest(
        str(model), TASKS, LM_EVAL, limit=3, include_path=str(tasks), device="cpu"
    )


@pytest.fixture(scope="module", autouse=True)
def own_tasks_alone() -> Iterator[None]:
    """Leave out the index of lm-eval's own tasks, which takes seconds each time."""
    with patch("lm_eval.tasks.TaskManager", partial(TaskManager, include_defaults=False)):
        yield


@pytest.fixture(scope="module")
def of_texts(request_of_texts: RoutingRequest) -> RoutingTrace:
    return collect(request_of_texts)


def rows_of(trace: RoutingTrace, task: str, question: int) -> np.ndarray:
    tokens = trace.tokens
    return np.flatnonzero((tokens.task == trace.tasks.index(task)) & (tokens.question == question))


@torch.no_grad()
def routed(folder: str, token_ids: list[int]) -> list[torch.Tensor]:
    """Return the probabilities of each layer for one text, from hidden states and weights alone."""
    model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), []
    for layer in model.model.layers:
        layer.mlp.register_forward_pre_hook(
            lambda module, args: found.append((args[0][0] @ module.gate.weight.T).softmax(-1))
        )
    model(input_ids=torch.tensor([token_ids]))
    return found


def assert_routed(trace: RoutingTrace, rows: np.ndarray, probabilities: list[torch.Tensor]) -> None:
    for layer, own in zip(trace.layers, probabilities, strict=True):
        scores, experts = own.topk(PUBLISHED_K + 1)
        assert layer.published_k == PUBLISHED_K
        assert layer.experts[rows].tolist() == experts.tolist()
        np.testing.assert_allclose(layer.scores[rows], scores, rtol=1e-4)
        entropy = torch.special.entr(own).sum(-1)
        np.testing.assert_allclose(layer.entropy[rows], entropy, rtol=1e-4)


def test_a_prompt_of_a_task_is_recorded_as_the_model_computes_it(
    request_of_texts: RoutingRequest, of_texts: RoutingTrace
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(request_of_texts.pretrained)
    rows = rows_of(of_texts, "sums", 1)
    ids = of_texts.tokens.token_id[rows].tolist()
    text = tokenizer.decode(ids)
    assert text.count("=") == 3  # two examples and the question
    assert text.endswith("=")
    assert of_texts.tokens.position[rows].tolist() == list(range(len(ids)))
    assert_routed(of_texts, rows, routed(request_of_texts.pretrained, ids))


@pytest.mark.parametrize("question", range(3))
def test_the_prompt_of_several_choices_is_recorded_once(
    request_of_texts: RoutingRequest, of_texts: RoutingTrace, question: int
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(request_of_texts.pretrained)
    rows = rows_of(of_texts, "choices", question)
    tokens = of_texts.tokens.take(rows)
    text = tokenizer.decode(tokens.token_id)
    assert text.count("Question: What is") == 1
    assert text.count("Answer:") == 1
    starts = [0, *np.flatnonzero(np.diff(tokens.position) != 1) + 1]
    assert len(starts) > 1  # the later choices continue in the prompt
    prompt = tokens.token_id.tolist()
    for begin, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        position = tokens.position[begin]
        whole = [*prompt[:position], *prompt[begin:end]]
        own = [one[position:] for one in routed(request_of_texts.pretrained, whole)]
        assert_routed(of_texts, rows[begin:end], own)


def test_what_is_scored_last_is_no_input(
    request_of_texts: RoutingRequest, of_texts: RoutingTrace
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(request_of_texts.pretrained)
    (first, *_) = Path(str(request_of_texts.include_path), "texts.jsonl").read_text().splitlines()
    whole = tokenizer.encode(json.loads(first)["text"], add_special_tokens=False)
    tokens = of_texts.tokens.token_id[rows_of(of_texts, "texts", 0)].tolist()
    assert tokens[1:] == whole[:-1]  # after the token that begins a text


def test_tasks_and_questions_are_those_of_the_host(of_texts: RoutingTrace) -> None:
    assert of_texts.tasks == TASKS
    found = [tuple(one) for one in np.stack([of_texts.tokens.task, of_texts.tokens.question], 1)]
    assert set(found) == {(task, question) for task in range(3) for question in range(3)}
    assert found == sorted(found)
    assert of_texts.phases == ("prefill",)
    assert of_texts.modalities == ("text",)
    assert of_texts.revision is None
    assert of_texts.weights


def assert_same(one: RoutingTrace, other: RoutingTrace) -> None:
    for name in FIELDS:
        assert getattr(one.tokens, name).tolist() == getattr(other.tokens, name).tolist()
    for layer, own in zip(one.layers, other.layers, strict=True):
        assert layer.experts.tolist() == own.experts.tolist()
        np.testing.assert_allclose(layer.scores, own.scores, rtol=1e-4)


def test_generated_tokens_are_recorded_where_they_are_asked_for_and_batches_change_nothing(
    request_of_texts: RoutingRequest, of_texts: RoutingTrace
) -> None:
    trace = collect(replace(request_of_texts, batch_size=1, new_tokens=3))
    assert trace.phases == ("prefill", "decode")
    assert_same(of_texts, trace.select(phase="prefill"))
    assert set(trace.tokens.task[trace.tokens.phase == 1].tolist()) == {TASKS.index("sums")}
    rows = rows_of(trace, "sums", 2)
    tokens = trace.tokens.take(rows)
    n_prompt = int((tokens.phase == 0).sum())
    assert 0 < len(rows) - n_prompt <= 3
    assert tokens.position.tolist() == list(range(len(rows)))
    probabilities = routed(request_of_texts.pretrained, tokens.token_id.tolist())
    assert_routed(trace, rows, probabilities)
    prompt = tokens.token_id[:n_prompt].tolist()
    assert int(routed_next(request_of_texts.pretrained, prompt)) == tokens.token_id[n_prompt]


@torch.no_grad()
def routed_next(folder: str, token_ids: list[int]) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model(input_ids=torch.tensor([token_ids])).logits[0, -1].argmax()


def test_another_k_and_fewer_tokens_can_be_recorded(
    request_of_texts: RoutingRequest, caplog: pytest.LogCaptureFixture
) -> None:
    request = replace(request_of_texts, tasks=("sums",), experts_k="2", batch_size=1, limit=6)
    trace = collect(replace(request, max_tokens=1))
    assert {layer.published_k for layer in trace.layers} == {2}
    assert {layer.width for layer in trace.layers} == {3}
    assert set(trace.tokens.question.tolist()) == {0, 1, 2, 3}
    assert "recorded the first 4 of 6 questions" in caplog.text


def test_images_of_lmms_eval_are_recorded_question_by_question() -> None:
    request = RoutingRequest("demo", ("easy_vqa",), limit=3, batch_size=2, device="cpu")
    trace = collect(request)
    assert trace.modalities == ("text", "image")
    tokens = trace.tokens
    for question in range(3):
        mine = tokens.where(task=0) & (tokens.question == question)
        assert tokens.position[mine].tolist() == list(range(mine.sum()))
        assert (tokens.where(modality="image") & mine).sum() == 16
    for layer in trace.layers:
        assert layer.scores is not None
        assert layer.ranked_by_score
    alone = collect(replace(request, batch_size=1, new_tokens=1))
    assert_same(trace, alone.select(phase="prefill"))
    assert alone.select(phase="decode").n_tokens <= 3


def test_what_is_not_possible_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    for given, said in (
        ({"tasks": ()}, "No tasks are named"),
        ({"new_tokens": -1}, "new_tokens"),
        ({"limit": 0}, "limit"),
        ({"experts_k": "text:4/image:2"}, "one k for all tokens"),
    ):
        with pytest.raises(InvalidArgumentError, match=said):
            RoutingRequest(**{"pretrained": "demo", "tasks": ("easy_vqa",), **given})
    own = RoutingRequest("demo", ("easy_vqa",), model_args="experts_k=2")
    with pytest.raises(InvalidArgumentError, match="experts_k cannot be given in the arguments"):
        collect(own)
    with pytest.raises(InvalidArgumentError, match="no_such_task"):
        collect(RoutingRequest("demo", ("no_such_task",)))
    save_dense(tmp_path)
    with pytest.raises(NotAnMoEError, match="dense model"):
        collect(RoutingRequest(str(tmp_path), ("easy_vqa",)))


def save_dense(folder: Path) -> None:
    from moe_eval_plugin.testing import tiny_config

    config: Any = tiny_config("llama")
    config.save_pretrained(folder)
