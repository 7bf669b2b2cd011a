"""``moe_vllm`` in lm-eval: the scores of the host's own ``vllm`` at the same k, and our record."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import EngineFailedError, NotFiniteError, OverrideError
from moe_eval_plugin.plugins.manager import task_folders
from tests.hosts.lm_eval.local_tasks import (
    N_QUESTIONS,
    TASKS,
    evaluate,
    responses,
    write_tasks,
)
from tests.hosts.lm_eval.tiny_olmoe import PUBLISHED_K, save_olmoe
from tests.hosts.lmms_eval.easy_requests import questions
from tests.vllm.vllm_prompts import conversation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.model_adapters.lm_eval_vllm import MoEVLLM, MoEVLLMVLM

pytestmark = pytest.mark.needs_vllm
K = 2
# `sums` does not say whether to sample.
GREEDY = {
    **TASKS["sums"],
    "generation_kwargs": {"max_gen_toks": 8, "until": ["\n", "="], "do_sample": False},
}
EQUAL = {name: task for name, task in TASKS.items() if name != "sums"} | {"greedy": GREEDY}
# Of a size that vLLM's attention for CPUs has.
SIZES = {"hidden_size": 128, "num_key_value_heads": 4, "max_position_embeddings": 1024}
SMALL = {"dtype": "float32", "max_model_len": 1024, "max_num_seqs": 8, "enforce_eager": True}
SCORED = ("choices", "words", "texts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all tasks, and a model as published and with k in its configuration."""
    folder = tmp_path_factory.mktemp("lm_eval")
    for k in (PUBLISHED_K, K):
        save_olmoe(folder / f"k{k}", k, **SIZES)
    return write_tasks(folder, {**TASKS, **EQUAL})


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict[str, Any]:
    """What the host's own model finds on the checkpoint with k in its configuration."""
    from moe_eval_plugin.model_adapters.lm_eval_vllm_classes import VLLM

    model = VLLM(str(folder / f"k{K}"), batch_size=1, enable_prefix_caching=False, **SMALL)
    found = evaluate(model, [*EQUAL], folder)
    model.model.llm_engine.engine_core.shutdown()
    del model
    gc.collect()
    return found


@pytest.fixture(scope="module")
def model(folder: Path, theirs: dict[str, Any]) -> Iterator[MoEVLLM]:
    """Our model at the same k, on the checkpoint as published."""
    from moe_eval_plugin.model_adapters.lm_eval_vllm import MoEVLLM

    assert theirs
    pretrained = str(folder / f"k{PUBLISHED_K}")
    model = MoEVLLM(pretrained=pretrained, experts_k=K, batch_size=1, **SMALL)
    yield model
    model.close()


@pytest.fixture(scope="module")
def ours(folder: Path, model: MoEVLLM) -> dict[str, Any]:
    return evaluate(model, ["sums", *EQUAL], folder)


@pytest.mark.parametrize("task", EQUAL)
def test_scores_and_responses_are_those_of_the_host_on_a_model_with_this_k(
    ours: dict[str, Any], theirs: dict[str, Any], task: str
) -> None:
    assert responses(ours, task) == responses(theirs, task)
    metrics = [f"{one['metric']},none" for one in EQUAL[task]["metric_list"]]
    for metric in metrics:
        assert ours["results"][task][metric] == theirs["results"][task][metric]
    assert ours["results"][task]["observed_num_experts_per_tok,none"] == K
    assert ours["results"][task]["baseline_num_experts_per_tok,none"] == PUBLISHED_K


def test_a_task_that_does_not_say_whether_to_sample_is_greedy(
    ours: dict[str, Any], model: MoEVLLM
) -> None:
    assert responses(ours, "sums") == responses(ours, "greedy")
    found = {task: model.moe_eval_records[task].provenance for task in ("sums", "greedy")}
    assert found["sums"]["temperature_by_default"] == 0.0
    assert "temperature_by_default" not in found["greedy"]
    assert model.modify_gen_kwargs({"do_sample": True})[0].get("temperature") is None
    assert model.modify_gen_kwargs({"temperature": 0.7})[0]["temperature"] == 0.7


def test_log_probabilities_are_those_of_moe_hf(folder: Path, ours: dict[str, Any]) -> None:
    from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM

    reference = MoEHFLM(str(folder / f"k{PUBLISHED_K}"), experts_k=K, dtype="float32", device="cpu")
    expected = evaluate(reference, list(SCORED), folder)
    for task in SCORED:
        for mine, one in zip(responses(ours, task), responses(expected, task), strict=True):
            assert numbers(mine) == pytest.approx(numbers(one), abs=1e-4, rel=1e-6)


def numbers(response: list[Any]) -> list[float]:
    return [one[0] if isinstance(one, tuple) else one for (one,) in response]


def test_a_record_counts_questions_prompts_and_answers(
    ours: dict[str, Any], model: MoEVLLM
) -> None:
    records = model.moe_eval_records
    found_n = {task: records[task].speed.n_samples for task in N_QUESTIONS}
    assert found_n == N_QUESTIONS
    read = {
        task: sum(
            len(model.tok_encode("".join(sample["arguments"][n])))
            for sample in ours["samples"][task]
            for n in range(len(sample["arguments"]))
        )
        for task in ("choices", "words")
    }
    assert {task: records[task].speed.n_input_tokens for task in read} == read
    # The token that vLLM generates after a text that is scored is no answer.
    assert records["choices"].speed.output_tokens_per_sample is None
    assert records["choices"].speed.ttft_s is None
    speed, found = records["greedy"].speed, records["greedy"].provenance
    assert (speed.latency_from, speed.ttft_s.n, speed.is_shared) == (
        "queue",
        N_QUESTIONS["sums"],
        False,
    )
    assert found["request_times"]["decode_s"]["n"] == N_QUESTIONS["sums"]
    assert (found["batch_size"], found["batch_size_requested"]) == (1, 1)
    assert (found["host"], found["backend"], found["prefix_caching"]) == ("lm-eval", "vllm", False)
    assert found["hardware"]["kind"] == "cpu"
    assert records["greedy"].answers.n_answers == N_QUESTIONS["sums"]


@pytest.fixture(scope="module")
def images(model: MoEVLLM) -> Iterator[MoEVLLMVLM]:
    """The embedded model, which reads images; the model of the tests before is stopped."""
    from moe_eval_plugin.model_adapters.lm_eval_vllm import MoEVLLMVLM

    model.close()
    gc.collect()
    images = MoEVLLMVLM(
        pretrained="demo", experts_k=K, batch_size="auto", **{**SMALL, "max_model_len": 512}
    )
    yield images
    images.close()


def requests(task: str, n: int = 3) -> list[Any]:
    from lm_eval.api.instance import Instance

    arguments = ("What is 1 plus 2?", {"until": ["\n"], "max_gen_toks": 4})
    return [Instance("generate_until", {}, arguments, 0, (task, i, 1)) for i in range(n)]


def test_requests_can_be_timed_without_a_record(ours: dict[str, Any], model: MoEVLLM) -> None:
    assert ours
    kept = dict(model.moe_eval_records)
    batches = model.time_requests(requests("timed"))
    assert [len(batch.e2e_latency_from_queue_s) for batch in batches] == [1, 1, 1]
    assert model.moe_eval_records == kept


def test_an_engine_that_dies_ends_the_run(model: MoEVLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    def generate(*_: object, **__: object) -> None:
        raise EngineDeadError

    monkeypatch.setattr(model.model, "generate", generate)
    with pytest.raises(EngineFailedError, match="vLLM died while it was answering"):
        model.generate_until(requests("dead"))


def test_a_kernel_that_hides_the_choice_of_experts_is_named(
    model: MoEVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = [{**layer, "hides_choice": True} for layer in model.running.workers.layers]
    monkeypatch.setattr(model.running.workers, "layers", hidden)
    with pytest.raises(OverrideError, match="moe_backend=triton"):
        model.generate_until(requests("hidden"))


def test_a_model_that_computes_nan_gets_no_score(
    model: MoEVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.instance import Instance

    runner = model.model.llm_engine.model_executor.driver_worker.worker.model_runner
    weight = runner.get_model().model.norm.weight.data
    kept = weight.clone()
    weight.fill_(float("nan"))
    try:
        with pytest.raises(NotFiniteError, match="its logits rank no token"):
            model.generate_until(requests("nan"))
        # What is verified may be sound, and what is answered not.
        monkeypatch.setattr(model, "_observe", lambda _: model.moe_eval_records["greedy"].experts)
        with pytest.raises(NotFiniteError, match="nan: 3 of 3 requests were answered from logits"):
            model.generate_until(requests("nan"))
        scored = Instance("loglikelihood", {}, ("What is 1 plus 2?", " 3"), 0, ("nan", 0, 1))
        assert model.loglikelihood([scored])[0][0] == -math.inf
        assert model.moe_eval_records["nan"].provenance["n_not_finite"] == 1
    finally:
        weight.copy_(kept)


N_IMAGES = 24


def test_questions_about_images_get_the_answers_of_transformers(images: MoEVLLMVLM) -> None:
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.engines.transformers.options import EngineOptions

    (folder,) = task_folders("lm-eval")
    found = evaluate(images, ["easy_vqa"], Path(folder), limit=N_IMAGES, apply_chat_template=True)
    answers = [response for [[response]] in responses(found, "easy_vqa")]
    reference = HFEngine(EngineOptions("demo", experts_k=K, dtype="float32"))
    asked = reference.encode([conversation(doc) for doc in questions(N_IMAGES)])
    settings = {"max_new_tokens": 16, "do_sample": False}
    expected = [answer.text for answer in reference.generate(asked, settings)]
    n_equal = sum(one == other for one, other in zip(answers, expected, strict=True))
    assert n_equal >= N_IMAGES - 1
    record = images.moe_eval_records["easy_vqa"]
    assert (record.experts.observed, record.experts.n_image_tokens) == (K, 4 * 16)
    assert (record.speed.n_samples, record.speed.is_shared) == (N_IMAGES, False)
    assert record.speed.n_input_tokens == sum(
        answer.n_input_tokens for answer in reference.generate(asked, settings)
    )
    sizes = [record.provenance[name] for name in ("batch_size", "batch_size_requested")]
    assert sizes == [SMALL["max_num_seqs"], "auto"]
    # Text alone takes the way of `moe_vllm`.
    assert len(images.generate_until(requests("text"))) == 3
