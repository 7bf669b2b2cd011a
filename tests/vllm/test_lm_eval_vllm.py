"""``moe_vllm`` in lm-eval: the scores of the host's own ``vllm`` at the same k, and our record."""

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.vllm.lm_eval_runs import TASKS, evaluate, responses, write_olmoe, write_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moe_eval_plugin.model_adapters.lm_eval_vllm import MoEVLLM

pytestmark = pytest.mark.needs_vllm
K, K_AS_PUBLISHED = 2, 4
SMALL = {"dtype": "float32", "max_model_len": 256, "max_num_seqs": 8, "enforce_eager": True}
SCORED = ("choices", "yes_no", "rolling")
N_QUESTIONS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all tasks, and a model as published and with k in its configuration."""
    folder = tmp_path_factory.mktemp("lm_eval")
    write_tasks(folder, N_QUESTIONS)
    for k in (K_AS_PUBLISHED, K):
        write_olmoe(folder / f"k{k}", k)
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict[str, Any]:
    """What the host's own model finds on the checkpoint with k in its configuration."""
    from moe_eval_plugin.model_adapters.lm_eval_vllm_classes import VLLM

    model = VLLM(str(folder / f"k{K}"), batch_size=1, enable_prefix_caching=False, **SMALL)
    found = evaluate(model, folder, [*SCORED, "greedy"])
    model.model.llm_engine.engine_core.shutdown()
    del model
    gc.collect()
    return found


@pytest.fixture(scope="module")
def model(folder: Path, theirs: dict[str, Any]) -> Iterator[MoEVLLM]:
    """Our model at the same k, on the checkpoint as published."""
    from moe_eval_plugin.model_adapters.lm_eval_vllm import MoEVLLM

    assert theirs
    pretrained = str(folder / f"k{K_AS_PUBLISHED}")
    model = MoEVLLM(pretrained=pretrained, experts_k=K, batch_size=1, **SMALL)
    yield model
    model.close()


@pytest.fixture(scope="module")
def ours(folder: Path, model: MoEVLLM) -> dict[str, Any]:
    return evaluate(model, folder, list(TASKS))


@pytest.mark.parametrize("task", [*SCORED, "greedy"])
def test_scores_and_responses_are_those_of_the_host_on_a_model_with_this_k(
    ours: dict[str, Any], theirs: dict[str, Any], task: str
) -> None:
    assert responses(ours, task) == responses(theirs, task)
    metrics = [f"{one['metric']},none" for one in TASKS[task]["metric_list"]]
    for metric in metrics:
        assert ours["results"][task][metric] == theirs["results"][task][metric]
    assert ours["results"][task]["observed_num_experts_per_tok,none"] == K
    assert ours["results"][task]["baseline_num_experts_per_tok,none"] == K_AS_PUBLISHED


def test_a_task_that_does_not_say_whether_to_sample_is_greedy(
    ours: dict[str, Any], model: MoEVLLM
) -> None:
    assert responses(ours, "unsaid") == responses(ours, "greedy")
    found = {task: model.moe_eval_records[task].provenance for task in ("unsaid", "greedy")}
    assert found["unsaid"]["temperature_by_default"] == 0.0
    assert "temperature_by_default" not in found["greedy"]
    assert model.modify_gen_kwargs({"do_sample": True})[0].get("temperature") is None
    assert model.modify_gen_kwargs({"temperature": 0.7})[0]["temperature"] == 0.7


def test_log_probabilities_are_those_of_moe_hf(folder: Path, ours: dict[str, Any]) -> None:
    from lm_eval.models.huggingface import HFLM

    reference = HFLM(str(folder / f"k{K}"), dtype="float32", device="cpu", batch_size=1)
    expected = evaluate(reference, folder, list(SCORED))
    for task in SCORED:
        for mine, one in zip(responses(ours, task), responses(expected, task), strict=True):
            assert numbers(mine) == pytest.approx(numbers(one), abs=1e-4)


def numbers(response: list[Any]) -> list[float]:
    return [one[0] if isinstance(one, tuple) else one for one in response]


def test_a_record_counts_questions_prompts_and_answers(
    ours: dict[str, Any], model: MoEVLLM
) -> None:
    records = model.moe_eval_records
    assert {task: one.speed.n_samples for task, one in records.items()} == dict.fromkeys(
        TASKS, N_QUESTIONS
    )
    read = {
        task: sum(
            len(model.tok_encode("".join(sample["arguments"][n])))
            for sample in ours["samples"][task]
            for n in range(len(sample["arguments"]))
        )
        for task in ("choices", "yes_no")
    }
    assert {task: records[task].speed.n_input_tokens for task in read} == read
    # The token that vLLM generates after a text that is scored is no answer.
    assert records["choices"].speed.output_tokens_per_sample is None
    assert records["choices"].speed.ttft_s is None
    speed, found = records["greedy"].speed, records["greedy"].provenance
    assert (speed.latency_from, speed.ttft_s.n, speed.is_shared) == ("queue", 12, False)
    assert found["request_times"]["decode_s"]["n"] == 12
    assert (found["batch_size"], found["batch_size_requested"]) == (1, 1)
    assert (found["host"], found["backend"], found["prefix_caching"]) == ("lm-eval", "vllm", False)
    assert found["hardware"]["kind"] == "cpu"
    assert records["greedy"].answers.n_answers == 12


def requests(model: MoEVLLM, task: str, n: int = 3) -> list[Any]:
    from lm_eval.api.instance import Instance

    arguments = ("What is 1 plus 2?", {"until": ["\n"], "max_gen_toks": 4})
    return [Instance("generate_until", {}, arguments, 0, (task, i, 1)) for i in range(n)]


def test_requests_can_be_timed_without_a_record(ours: dict[str, Any], model: MoEVLLM) -> None:
    assert ours
    kept = dict(model.moe_eval_records)
    batches = model.time_requests(requests(model, "timed"))
    assert [len(batch.e2e_latency_from_queue_s) for batch in batches] == [1, 1, 1]
    assert model.moe_eval_records == kept


def test_an_engine_that_dies_ends_the_run(
    model: MoEVLLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    def generate(*_: object, **__: object) -> None:
        raise EngineDeadError

    monkeypatch.setattr(model.model, "generate", generate)
    with pytest.raises(SystemExit) as ended:
        model.generate_until(requests(model, "dead"))
    assert ended.value.code == 3
    assert "vLLM died while it was answering" in capsys.readouterr().err


def test_a_kernel_that_hides_the_choice_of_experts_is_named(
    model: MoEVLLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = [{**layer, "hides_choice": True} for layer in model.running.workers.layers]
    monkeypatch.setattr(model.running.workers, "layers", hidden)
    with pytest.raises(SystemExit) as ended:
        model.generate_until(requests(model, "hidden"))
    assert ended.value.code == 3
    assert "moe_backend=triton" in capsys.readouterr().err


def test_a_model_that_computes_nan_gets_no_score(
    model: MoEVLLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = model.model.llm_engine.model_executor.driver_worker.worker.model_runner
    weight = runner.get_model().model.norm.weight.data
    kept = weight.clone()
    weight.fill_(float("nan"))
    try:
        with pytest.raises(SystemExit) as ended:
            model.generate_until(requests(model, "nan"))
        assert ended.value.code == 3
        # What is verified may be sound, and what is answered not.
        monkeypatch.setattr(model, "_observe", lambda _: model.moe_eval_records["greedy"].experts)
        with pytest.raises(SystemExit) as ended:
            model.generate_until(requests(model, "nan"))
        assert ended.value.code == 3
        assert "nan: 3 of 3 requests" in capsys.readouterr().err
        assert model._loglikelihood_tokens([(None, [5], [6])]) == [(-math.inf, True)]
    finally:
        weight.copy_(kept)
