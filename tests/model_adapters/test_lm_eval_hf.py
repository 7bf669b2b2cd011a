"""``moe_hf`` of lm-eval: its answers are those of the host's own class on a model rebuilt at k."""

from __future__ import annotations

import gc
from functools import partial
from shutil import copytree
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from safetensors.torch import load_file, save_file

from moe_eval_plugin.bench.steady_decode import steady_decode
from moe_eval_plugin.errors import (
    CheckpointMismatchError,
    InvalidExpertCountError,
    NotFiniteError,
    UserError,
)
from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.model_adapters import lm_eval_hf
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.testing import tiny_moe
from tests.hosts.lm_eval.local_tasks import (
    N_QUESTIONS,
    TASKS,
    evaluate,
    responses,
    write_tasks,
)
from tests.hosts.lm_eval.tiny_olmoe import PUBLISHED_K, save_olmoe
from tests.results.record_docs import undocumented

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

K = 2
FLOAT32 = {"dtype": "float32"}


TASK = "task"
BatchOf: TypeAlias = "Callable[[int | str], None]"


def scoring(question: int, context: str, continuation: str, *, task: str = TASK) -> Instance:
    return Instance("loglikelihood", {}, (context, continuation), 0, (task, question, 1))


def generating(question: int, context: str, *, task: str = TASK) -> Instance:
    arguments = {"until": ["\n"], "max_gen_toks": 3, "do_sample": False}
    return Instance("generate_until", {}, (context, arguments), 0, (task, question, 1))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    register()
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_olmoe(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def expected(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of the host's own ``hf`` on a model that was rebuilt and saved at k."""
    rebuilt = save_olmoe(tmp_path_factory.mktemp("rebuilt"), K)
    return evaluate("hf", [*TASKS], tasks, model_args={"pretrained": str(rebuilt), **FLOAT32})


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> MoEHFLM:
    return MoEHFLM(str(checkpoint), experts_k=K, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def found(model: MoEHFLM, tasks: Path) -> dict[str, Any]:
    return evaluate(model, [*TASKS], tasks)


@pytest.fixture
def batch(model: MoEHFLM, monkeypatch: pytest.MonkeyPatch) -> BatchOf:
    """Set the batch size of the model, in this test."""
    return partial(monkeypatch.setattr, model, "batch_size_per_gpu")


@pytest.mark.parametrize("task", TASKS)
def test_every_score_is_that_of_the_host_on_a_rebuilt_model(
    task: str, found: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert responses(found, task) == responses(expected, task)
    for metric in TASKS[task]["metric_list"]:
        name = f"{metric['metric']},none"
        assert found["results"][task][name] == expected["results"][task][name]


def test_another_k_answers_otherwise(model: MoEHFLM, tasks: Path, expected: dict[str, Any]) -> None:
    model.set_experts(PUBLISHED_K)
    others = evaluate(model, [*TASKS], tasks, limit=3)
    model.set_experts(K)
    for task in TASKS:
        assert responses(others, task) != responses(expected, task)[:3]


@pytest.mark.parametrize("task", TASKS)
def test_a_sample_is_a_question(task: str, found: dict[str, Any]) -> None:
    record = found["moe_eval"][task]
    assert record["speed"]["n_samples"] == N_QUESTIONS[task]
    assert record["experts"]["observed"] == K
    assert record["provenance"]["host"] == "lm-eval"
    assert record["provenance"]["batch_size"] == 1
    assert undocumented(record["provenance"]) == set()
    assert record["hardware"]["peak_memory"]["process_bytes"] > 0


def test_times_are_known_as_far_as_requests_have_them(found: dict[str, Any]) -> None:
    generated, scored = (found["moe_eval"][task]["speed"] for task in ("sums", "choices"))
    assert generated["ttft_s"]["n"] == generated["e2e_latency_s"]["n"] == N_QUESTIONS["sums"]
    assert generated["phases"]["decode_s"] > 0
    assert scored["phases"]["prefill_s"] > 0
    assert scored["phases"]["decode_s"] == 0
    # Requests of one question lie in several batches.
    assert scored["ttft_s"] is scored["e2e_latency_s"] is None
    assert scored["latency_from"] is None


def test_ends_of_answers_are_counted(found: dict[str, Any]) -> None:
    ends = found["moe_eval"]["sums"]["answers"]
    assert ends["n_answers"] == N_QUESTIONS["sums"]
    assert ends["max_new_tokens"] == 8
    assert found["moe_eval"]["sums"]["provenance"]["generation"][0]["max_gen_toks"] == 8
    assert "answers" not in found["moe_eval"]["choices"]


def test_padding_is_neither_counted_nor_observed(model: MoEHFLM, batch: BatchOf) -> None:
    contexts = [" ".join("a" * (i + 1)) for i in range(4)]
    asked = [scoring(i, context, " b c d") for i, context in enumerate(contexts)]
    asked.append(scoring(4, "a", " b c e"))  # reads the same tokens as the first one
    lengths = [len(model.tok_encode(f"{context} b c d")) - 1 for context in contexts]
    batch(8)
    model.loglikelihood(asked, disable_tqdm=True)
    record = model.moe_eval_records[TASK]
    assert record.speed.n_input_tokens == sum(lengths)
    assert record.experts.n_text_tokens == sum(lengths)

    prompts = [generating(i, context, task="other") for i, context in enumerate(contexts)]
    lengths = [len(model.tok_encode(context)) for context in contexts]
    model.generate_until(prompts, disable_tqdm=True)
    record = model.moe_eval_records["other"]
    assert record.speed.n_input_tokens == sum(lengths)
    # Verification generates two tokens, and the model reads the first of them.
    assert record.experts.n_text_tokens == sum(lengths) + 4


def test_questions_with_several_kinds_of_requests_count_once(model: MoEHFLM) -> None:
    model.start_measuring()
    model.loglikelihood([scoring(0, "a", " b"), scoring(1, "a", " c")], disable_tqdm=True)
    model.generate_until([generating(0, "a b"), generating(1, "a c")], disable_tqdm=True)
    record = model.moe_eval_records[TASK]
    assert (record.speed.n_samples, record.speed.n_output_tokens) == (2, 6)
    # The same kind again is another evaluation.
    model.generate_until([generating(0, "a b")], disable_tqdm=True)
    assert model.moe_eval_records[TASK].speed.n_samples == 1


def test_requests_of_several_tasks_share_no_batch(model: MoEHFLM, batch: BatchOf) -> None:
    batch(8)
    one = [scoring(i, f"{'one ' * (i + 1)}:", " a b") for i in range(4)]
    other = [scoring(i, f"{i} and {'more ' * i}:", " b", task="other") for i in range(4)]
    mixed = [request for both in zip(one, other, strict=True) for request in both]
    answers = model.loglikelihood(mixed, disable_tqdm=True)
    assert answers[::2] == model.loglikelihood(one, disable_tqdm=True)
    assert answers[1::2] == model.loglikelihood(other, disable_tqdm=True)
    assert model.moe_eval_records["other"].speed.n_samples == 4


def test_an_automatic_batch_size_is_recorded_and_its_search_is_not_timed(
    model: MoEHFLM, batch: BatchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch("auto")

    def detect(model: MoEHFLM) -> int:
        model._model_call(torch.ones((4, 8), dtype=torch.long))
        return 4

    monkeypatch.setattr(HFLM, "_detect_batch_size", detect)
    asked = [generating(i, f"{i}+{i}=") for i in range(6)]
    batches = model.time_requests(asked)
    model.generate_until(asked, disable_tqdm=True)
    assert [len(one.output_tokens) for one in batches] == [4, 2]
    assert model.moe_eval_records[TASK].speed.n_samples == 6
    provenance = model.moe_eval_records[TASK].provenance
    assert (provenance["batch_size_requested"], provenance["batch_size"]) == ("auto", 4)


def test_a_k_of_decode_is_refused_where_nothing_is_decoded(
    model: MoEHFLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.set_experts("prefill:4/decode:2")
    monkeypatch.setattr(model, "_model_call", None)
    with pytest.raises(InvalidExpertCountError, match=f"nothing is decoded in {TASK}: given"):
        model.loglikelihood([scoring(0, "a", " b")])
    model.generate_until([generating(0, "a b")], disable_tqdm=True)
    by_phase = model.moe_eval_records[TASK].experts
    assert 2 < by_phase.observed < 4
    model.set_experts(K)


def test_what_pads_a_process_is_answered_once_and_not_counted(
    model: MoEHFLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_world_size", 2)
    first, last = scoring(0, "a", " b"), scoring(1, "c", " d e")
    answers = model.loglikelihood([first, last, last, last], disable_tqdm=True)
    assert answers[1] == answers[2] == answers[3] != answers[0]
    assert model.moe_eval_records[TASK].speed.n_samples == 2


def test_a_task_that_a_process_has_no_question_of_is_refused(
    model: MoEHFLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_gather", lambda mine: [mine, {}])
    with pytest.raises(UserError, match=f"{TASK} has fewer questions than the 2 processes"):
        model.loglikelihood([scoring(0, "a", " b")], disable_tqdm=True)


def test_requests_are_timed_without_a_record(model: MoEHFLM, batch: BatchOf) -> None:
    batch(2)
    model.start_measuring()
    batches = model.time_requests([generating(i, f"{i}+{i}=") for i in range(3)])
    assert [one.n_samples for one in batches] == [2, 1]
    assert all(one.phases.decode_s > 0 for one in batches)
    assert model.moe_eval_records == {}


def test_without_a_profile_only_wall_times_are_measured(
    model: MoEHFLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "profile", "off")
    model.generate_until([generating(0, "a b")], disable_tqdm=True)
    record = model.moe_eval_records[TASK]
    assert record.speed.phases is record.speed.ttft_s is record.peak_memory_gib is None
    assert record.speed.samples_per_s > 0


def test_a_full_profile_has_steady_decode(model: MoEHFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    short = partial(steady_decode, batch_sizes=(1,), prompt_tokens=4, new_tokens=4)
    monkeypatch.setattr(lm_eval_hf, "steady_decode", short)
    monkeypatch.setattr(model, "profile", "full")
    model.loglikelihood([scoring(0, "a", " b")], disable_tqdm=True)
    assert model.moe_eval_records[TASK].rows()["steady_decode_tokens_per_s"] > 0


def test_a_loaded_model_is_measured_too_and_restored(model: MoEHFLM) -> None:
    loaded = tiny_moe("olmoe", vocab_size=len(model.tokenizer))
    ours = MoEHFLM(loaded, tokenizer=model.tokenizer, experts_k=1, batch_size=1)
    ours.loglikelihood([scoring(0, "a", " b")], disable_tqdm=True)
    assert ours.moe_eval_records[TASK].experts.observed == 1
    del ours
    gc.collect()
    assert loaded.model.layers[0].mlp.gate.top_k == 4


def test_weights_that_do_not_fit_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    copytree(checkpoint, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.0.mlp.gate.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointMismatchError, match="1 weights are missing and were made up"):
        MoEHFLM(str(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expert_k": 2}, "expert_k is not an argument of moe_hf. Did you mean experts_k?"),
        ({"experts_k": 9}, "experts_k=9 is too many. Use 1 to 8."),
        ({"num_experts_per_tok": 2}, "num_experts_per_tok=2 is not possible: it would change"),
        ({"device": "cuda:77"}, "device=cuda:77 is not possible"),
        ({"dtype": "float3"}, "dtype=float3 is not possible. Use one of: auto, bfloat16"),
        ({"profile": "all"}, "profile=all is not known. Use one of: off, basic, full."),
        ({"gguf_file": "a.gguf"}, "gguf_file=a.gguf is not possible: the number of experts of a"),
        ({"backend": "seq2seq"}, "backend=seq2seq is not possible: moe_hf runs decoders alone"),
        ({"pretrained": "demo"}, "qwen3_vl_moe takes images, .* Use --model moe_hf-multimodal"),
    ],
)
def test_arguments_are_refused_before_anything_is_loaded(
    checkpoint: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        MoEHFLM.check_arguments({"pretrained": str(checkpoint), **arguments})


def test_the_default_device_of_the_host_need_not_be_there(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    model = MoEHFLM.create_from_arg_obj({"pretrained": str(checkpoint)}, {"device": "cuda:0"})
    model.loglikelihood([scoring(0, "a", " b")], disable_tqdm=True)
    assert model.moe_eval_records[TASK].setup.device == "cpu"


def test_answers_from_nan_are_no_answers_and_many_of_them_end_the_run(
    model: MoEHFLM, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = model.model.forward
    n_calls, is_bad = 0, range(0)

    def spoiled(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        output = forward(*args, **kwargs)
        if model._timer is not None and (n_calls in is_bad):
            output.logits[:] = float("nan")
        return output

    monkeypatch.setattr(model.model, "forward", spoiled)
    for task in ("sums", "choices"):
        n_calls, is_bad = 0, range(0)
        expected = responses(evaluate(model, [task], tasks), task)
        n_calls, is_bad = 0, range(n_calls, n_calls + 1)
        found = evaluate(model, [task], tasks)
        assert found["moe_eval"][task]["provenance"]["n_not_finite"] == 1
        assert sum(a != b for a, b in zip(responses(found, task), expected, strict=True)) <= 1
        n_calls, is_bad = 0, range(10_000)
        with pytest.raises(NotFiniteError, match=f"{task}: .* were answered from logits"):
            evaluate(model, [task], tasks)
