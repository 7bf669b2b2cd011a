"""``moe_vllm`` inside the host: the same events and records as ``moe_hf``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.hosts.lmms_eval.announced_runs import OTHER, alike, listening, run_all_kinds, seen
from tests.hosts.lmms_eval.easy_requests import TASK, messages, request, scoring_request
from tests.model_adapters.sampled_answers import N_ASKED, repeat, sample
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
        )
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


def test_a_request_that_is_refused_is_no_sample(heard: tuple[MoEVLLM, Listener]) -> None:
    model, listener = heard

    def too_long(doc: dict[str, Any]) -> Any:
        return messages(doc | {"question": "what shape is it? " * 60})

    listener.events.clear()
    answers = model.generate_until([request(0), request(1, too_long), request(2)])
    assert [bool(answer.text) for answer in answers] == [True, False, True]
    record = model.moe_eval_records[TASK]
    assert (record.speed.n_samples, record.provenance["n_errors"]) == (2, 1)
    assert listener.events[-2][-2:] == (3, 3)


def test_the_seed_of_the_host_draws_the_answers(heard: tuple[MoEVLLM, Listener]) -> None:
    model, _ = heard
    first = sample(model, 11)
    assert model.moe_eval_records[TASK].provenance["seed"] == 11
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
        assert model.engine.not_finite() == {answer.request}
    finally:
        weight.copy_(kept)
    assert model.generate_until([request(0)])[0].text
