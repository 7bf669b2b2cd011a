"""``moe_vllm`` inside the host: the same events and records as ``moe_hf``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.hosts.lmms_eval.announced_runs import (
    OTHER,
    alike,
    listening,
    run_all_kinds,
    seen,
    two_rounds,
)
from tests.hosts.lmms_eval.easy_requests import (
    SPLIT,
    TASK,
    messages,
    questions,
    request,
    scoring_request,
)
from tests.model_adapters.sampled_answers import N_ASKED, repeat, sample
from tests.results.record_docs import undocumented
from tests.vllm.vllm_prompts import prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.model_adapters.lmms_eval_vllm import MoEVLLM
    from tests.hosts.lmms_eval.announced_runs import Listener

pytestmark = pytest.mark.needs_vllm
OWN = {
    "backend",
    "verification",
    "kernels",
    "enforce_eager",
    "compilation_mode",
    "cudagraph_mode",
    "prefix_caching",
    "engine_start_s",
    "max_model_len",
    "max_num_seqs",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "enable_expert_parallel",
}


@pytest.fixture(scope="module")
def heard() -> Iterator[tuple[MoEVLLM, Listener]]:
    from moe_eval_plugin.model_adapters.lmms_eval_vllm import MoEVLLM

    with pytest.MonkeyPatch.context() as monkeypatch:
        listener = listening(monkeypatch)
        model = MoEVLLM(
            pretrained="demo",
            experts_k=2,
            dtype="float32",
            max_model_len=128,
            max_num_seqs=8,
            enforce_eager=True,
            share_images="no",
        )
    model.task_dict = {name: {SPLIT: questions()} for name in (TASK, OTHER)}
    yield model, listener
    model.clean()


def test_plugins_and_records_are_as_on_every_engine(heard: tuple[MoEVLLM, Listener]) -> None:
    model, listener = heard
    run_all_kinds(model)
    assert seen(model, listener) == alike(OWN, of_records={"n_errors", "request_times"})


def test_latencies_of_vllm_have_names_of_their_own(heard: tuple[MoEVLLM, Listener]) -> None:
    model, _ = heard
    model.generate_until([request(0), request(1)])
    rows = model.moe_eval_records[TASK].rows()
    assert rows["ttft_from_queue_s_median"] > 0
    assert rows["e2e_latency_from_queue_s_median"] >= rows["ttft_from_queue_s_median"]
    assert "ttft_s_median" not in rows


def test_several_requests_of_a_question_are_one_sample(heard: tuple[MoEVLLM, Listener]) -> None:
    model, _ = heard
    model.loglikelihood([scoring_request(i, text) for text in ("red", "blue") for i in range(2)])
    assert model.moe_eval_records[TASK].speed.n_samples == 2
    model.generate_until([request(0)] * 3)
    speed = model.moe_eval_records[TASK].speed
    assert (speed.n_samples, speed.output_tokens_per_sample.n) == (1, 3)


def too_long(doc: dict[str, Any]) -> Any:
    return messages(doc | {"question": "what shape is it? " * 60})


def with_token(doc: dict[str, Any], **_: object) -> Any:
    return messages(doc | {"question": "What is <|image_pad|>?"})


def too_wide(doc: dict[str, Any]) -> Any:
    [message] = messages(doc)
    image = {"type": "image", "url": Image.new("RGB", (1000, 4))}
    return [{**message, "content": [image, *message["content"][1:]]}]


@pytest.fixture
def counting(
    heard: tuple[MoEVLLM, Listener], monkeypatch: pytest.MonkeyPatch
) -> tuple[MoEVLLM, Listener]:
    model, listener = heard
    monkeypatch.setattr(model, "options", replace(model.options, unanswerable="count"))
    listener.events.clear()
    return model, listener


def test_a_request_that_is_refused_is_no_sample(counting: tuple[MoEVLLM, Listener]) -> None:
    model, listener = counting
    broken = {1: too_long, 3: with_token, 4: too_wide}
    answers = model.generate_until([request(i, broken.get(i, messages)) for i in range(6)])
    assert [i for i, answer in enumerate(answers) if not answer.text] == [1, 3, 4]
    record = model.moe_eval_records[TASK]
    assert (record.speed.n_samples, record.provenance["n_errors"]) == (3, 3)
    assert record.provenance["n_unanswered"] == 3
    reasons = {one["document"]: one["reason"] for one in record.provenance["unanswered"]}
    assert reasons[3] == 'its text has "<|image_pad|>", which this model takes for an image'
    assert "128" in reasons[1]
    assert "ratio" in reasons[4]
    assert listener.events[-2][-2:] == (6, 6)


def test_no_choice_and_no_round_of_a_refused_question_counts(
    counting: tuple[MoEVLLM, Listener],
) -> None:
    model, _ = counting
    choices = [(0, "red"), (0, "blue " * 120), (1, "red"), (1, "blue")]
    scores = model.loglikelihood([scoring_request(i, text) for i, text in choices])
    assert scores[:2] == [(float("-inf"), False)] * 2
    assert all(score > float("-inf") for score, _ in scores[2:])
    assert model.moe_eval_records[TASK].provenance["n_unanswered"] == 1

    def rounds(doc: dict[str, Any], round_idx: int | None = None, **_: object) -> Any:
        return messages(doc) if round_idx is None else (with_token(doc), False, None, None)

    asked = [request(0, rounds), request(1, two_rounds)]
    first, second = model.generate_until_multi_round(asked)
    assert (first, len(second)) == ([""], 2)


def test_a_question_that_is_refused_ends_the_run_and_is_named(
    heard: tuple[MoEVLLM, Listener], capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = heard
    expected = [answer.text for answer in model.generate_until([request(0), request(1)])]
    for position in (0, 7):
        asked = [request(i, with_token if i == position else messages) for i in range(9)]
        with pytest.raises(SystemExit) as ended:
            model.generate_until(asked)
        assert ended.value.code == 2
        assert f"error: Document {position} of {TASK}, counted from 0, cannot be put to the" in (
            capsys.readouterr().err
        )
    # Requests that were open are ended, and the engine goes on.
    assert [one.text for one in model.generate_until([request(0), request(1)])] == expected


def test_the_seed_of_the_host_draws_the_answers(heard: tuple[MoEVLLM, Listener]) -> None:
    model, _ = heard
    first = sample(model, 11)
    assert model.moe_eval_records[TASK].provenance["seed"] == 11
    assert undocumented(model.moe_eval_records[TASK].provenance) == set()
    assert sample(model, 22) != first
    assert sample(model, 11, OTHER, TASK)[N_ASKED:] == first
    assert len(repeat(model)) > 1


def test_a_model_that_computes_nan_is_refused(heard: tuple[MoEVLLM, Listener]) -> None:
    model, _ = heard
    runner = model.engine.llm.llm_engine.model_executor.driver_worker.worker.model_runner
    weight = runner.get_model().language_model.model.norm.weight.data
    kept = weight.clone()
    weight.fill_(float("nan"))
    try:
        with pytest.raises(SystemExit) as ended:
            model.generate_until([request(0)])
        assert ended.value.code == 3
        answer = dict(model.engine.run(prompts(1, "red"), at_once=1))[0]
        assert (answer.log_probability, answer.is_finite) == (float("-inf"), False)
        (answer,) = dict(model.engine.run(prompts(1), at_once=1)).values()
        assert answer.request in model.engine.not_finite()
    finally:
        weight.copy_(kept)
    assert model.generate_until([request(0)])[0].text
