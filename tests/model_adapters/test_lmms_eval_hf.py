"""``moe_hf`` inside the host: arguments, batches, memory, rounds, records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.hosts.run_options import RunOptions
from moe_eval_plugin.measure.answer_ends import AnswerEnds
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from tests.hosts.lmms_eval.announced_runs import alike, listening, run_all_kinds, seen
from tests.hosts.lmms_eval.easy_requests import (
    N_QUESTIONS,
    SPLIT,
    TASK,
    messages,
    questions,
    request,
    scoring_request,
)
from tests.model_adapters.sampled_answers import N_ASKED, repeat, sample
from tests.models.weights.checkpoints import demo_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def model() -> Iterator[MoEHF]:
    model = MoEHF(pretrained="demo", experts_k=2, batch_size=4, dtype="float32")
    model.task_dict = {name: {SPLIT: questions()} for name in (TASK, "other")}
    yield model
    model.clean()


@pytest.fixture(scope="module")
def expected(model: MoEHF) -> list[str]:
    return [model.generate_until([request(i)])[0].text for i in range(N_QUESTIONS)]


def test_answers_come_in_the_order_of_the_requests(model: MoEHF, expected: list[str]) -> None:
    order = [7, 0, 11, 3, 5, 1]
    answers = model.generate_until([request(i) for i in order])
    assert [answer.text for answer in answers] == [expected[i] for i in order]
    assert len(set(expected)) > 2
    assert all(answer.token_counts.output_tokens == 2 for answer in answers)
    assert all(answer.token_counts.input_tokens > 16 for answer in answers)


def test_each_task_gets_a_record_of_its_own(model: MoEHF) -> None:
    model.generate_until([request(0), request(1, task="other"), request(2)])
    records = model.moe_eval_records
    assert records[TASK].speed.n_samples == 2
    assert records["other"].speed.n_samples == 1
    assert records[TASK].experts.observed == 2
    assert records[TASK].experts.n_image_tokens == 2 * 16
    assert records[TASK].provenance["versions"]["transformers"]


@pytest.mark.parametrize(
    ("ended_by", "limit", "ends"),
    [
        ("end_token", 4, AnswerEnds(2, 2, 0, 0, 0, 4)),
        ("stop_string", 4, AnswerEnds(2, 0, 2, 0, 0, 4)),
        ("token_limit", 1, AnswerEnds(2, 0, 0, 2, 0, 1)),
    ],
)
def test_answers_are_counted_by_what_ended_them(
    model: MoEHF,
    expected: list[str],
    caplog: pytest.LogCaptureFixture,
    ended_by: str,
    limit: int,
    ends: AnswerEnds,
) -> None:
    until = [expected[i][0] for i in range(2)] if ended_by == "stop_string" else []
    generation = {"max_new_tokens": limit, "until": until}
    answers = model.generate_until([request(i, generation=generation) for i in range(2)])
    assert model.moe_eval_records[TASK].answers == ends
    assert [answer.token_counts.to_dict()["ended_by"] for answer in answers] == [ended_by] * 2
    was_cut = "2 of 2 answers were cut at max_new_tokens=1: what" in caplog.text
    assert was_cut is (ended_by == "token_limit")


def test_an_answer_that_ends_inside_a_thought_is_counted_and_warned_of(
    model: MoEHF, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    generate = model.engine.generate

    def think(*args: Any) -> list[Any]:
        return [replace(one, text="<think>\nGot it, let me") for one in generate(*args)]

    monkeypatch.setattr(model, "_verify", lambda _items: None)
    monkeypatch.setattr(model.engine, "generate", think)
    model.generate_until([request(0), request(1)])
    assert model.moe_eval_records[TASK].answers.n_in_thought == 2
    assert "2 of 2 answers end inside a thought at max_new_tokens=4: what" in caplog.text


def test_requests_that_only_pad_a_rank_are_not_run_or_counted(model: MoEHF) -> None:
    answers = model.generate_until([request(0), request(1, __padding_only__=True)])
    assert answers[1].text == ""
    assert model.moe_eval_records[TASK].speed.n_samples == 1


def test_out_of_memory_halves_the_batch_and_loses_nothing(
    expected: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = MoEHF(pretrained="demo", experts_k=2, batch_size="auto", dtype="float32")
    model.task_dict = {TASK: {SPLIT: questions()}}
    generate = model.engine.generate

    def small_memory(encoded: Any, *args: Any) -> Any:
        if len(encoded.n_input_tokens) > 3:
            message = "CUDA out of memory. Tried to allocate 2.00 GiB"
            raise torch.OutOfMemoryError(message)
        return generate(encoded, *args)

    monkeypatch.setattr(model, "_verify", lambda _items: None)
    monkeypatch.setattr(model.engine, "generate", small_memory)
    answers = model.generate_until([request(i) for i in range(N_QUESTIONS)])
    assert [answer.text for answer in answers] == expected
    assert model.batch_size == 3
    assert "Out of memory with 12 requests in a batch; going on with 6." in caplog.text


def test_one_request_that_does_not_fit_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MoEHF(pretrained="demo")
    model.task_dict = {TASK: {SPLIT: questions()}}

    def no_memory(*_: Any) -> None:
        message = "CUDA out of memory."
        raise torch.OutOfMemoryError(message)

    monkeypatch.setattr(model, "_verify", lambda _items: None)
    monkeypatch.setattr(model.engine, "generate", no_memory)
    with pytest.raises(SystemExit) as ended:
        model.generate_until([request(0)])
    assert ended.value.code == 1


def test_rounds_follow_the_answers_before_them(model: MoEHF, expected: list[str]) -> None:
    seen = []

    def rounds(
        doc: dict[str, Any],
        round_idx: int | None = None,
        previous_output: list[str] | None = None,
        previous_round_info: object = None,
    ) -> Any:
        if round_idx is None:
            return messages(doc)
        seen.append((round_idx, list(previous_output or []), previous_round_info))
        return messages(questions()[1]), round_idx == 2, previous_output, f"round {round_idx}"

    answers = model.generate_until_multi_round([request(0, to_messages=rounds)])
    assert answers == [[expected[0], expected[1]]]
    assert seen == [(1, [expected[0]], None), (2, [expected[0], expected[1]], "round 1")]


def test_loglikelihood_ranks_the_answers(model: MoEHF, expected: list[str]) -> None:
    other = "yes" if expected[0] != "yes" else "circle"
    (right, greedy), (wrong, _) = model.loglikelihood(
        [scoring_request(0, lambda _doc: expected[0]), scoring_request(0, other)]
    )
    assert greedy
    assert right > wrong


def test_sampling_is_reproducible_with_a_seed(model: MoEHF) -> None:
    hot = request(0, generation={"temperature": 50.0, "do_sample": True, "max_new_tokens": 8})
    first, second = (model.generate_until([hot])[0].text for _ in range(2))
    assert first == second


def test_a_task_without_a_limit_gets_the_models(model: MoEHF) -> None:
    settings = model._requests.settings({"until": ["\n"]})
    assert settings.arguments["max_new_tokens"] == RunOptions.max_new_tokens
    assert settings.arguments["do_sample"] is False
    assert settings.until == ("\n",)
    assert model._requests.settings({"max_new_tokens": 3}).arguments["max_new_tokens"] == 3


def test_arguments_that_are_not_used_are_named(
    model: MoEHF, caplog: pytest.LogCaptureFixture
) -> None:
    model._requests.settings({"image_aspect_ratio": "original"})
    assert "image_aspect_ratio" in caplog.text


def test_model_args_come_before_the_options_of_the_host() -> None:
    host = {"batch_size": 1, "max_batch_size": None, "device": None}
    model = MoEHF.create_from_arg_string("pretrained=demo,batch_size=16", host)
    assert model.batch_size == 16
    assert (
        MoEHF.create_from_arg_string("pretrained=demo", {**host, "batch_size": "3"}).batch_size == 3
    )


def test_the_system_instruction_of_the_host_is_the_system_prompt() -> None:
    model = MoEHF(pretrained="demo", dtype="float32")
    model.task_dict = {TASK: {SPLIT: questions()}}
    own = MoEHF(pretrained="demo", dtype="float32", system_prompt="Answer black.")
    own.task_dict = model.task_dict
    plain = model.generate_until([request(0)])[0]
    host = {"system_instruction": "Answer black.", "limit": 2}
    assert model.take_options(host) == {"system_instruction": None, "limit": 2}
    told, expected = (one.generate_until([request(0)])[0] for one in (model, own))
    assert told.token_counts == expected.token_counts != plain.token_counts
    assert model.moe_eval_records[TASK].provenance["system_prompt"] == "Answer black."
    own.take_options(host)
    assert own.options.system_prompt == "Answer black."
    model.take_options({"system_instruction": None})
    assert model.generate_until([request(0)])[0] == plain
    with pytest.raises(SystemExit) as ended:
        own.take_options({"system_instruction": "Answer red."})
    assert ended.value.code == 2


@pytest.mark.parametrize("size", [0, "many", -1, 1.5])
def test_an_impossible_batch_size_is_refused(size: object) -> None:
    with pytest.raises(SystemExit) as ended:
        MoEHF(pretrained="demo", batch_size=size)
    assert ended.value.code == 2


def test_plugins_and_records_are_as_on_every_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listening(monkeypatch)
    model = MoEHF(pretrained="demo", experts_k=2, dtype="float32")
    run_all_kinds(model)
    own = {"experts_implementation", "attn_implementation", "profile", "profile_trace"}
    assert seen(model, listener) == alike(own, of_records=set())


def test_what_the_command_line_checked_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = ModelConfig.load

    def counted(options: Any) -> ModelConfig:
        read.append(options.experts_k)
        return load(options)

    monkeypatch.setattr(ModelConfig, "load", counted)
    MoEHF.check_arguments("pretrained=demo,experts_k=4")
    for k in (4, 2):
        MoEHF.create_from_arg_string(f"pretrained=demo,experts_k={k}", {"batch_size": 1}).clean()
    assert read == ["4", "2"]


def test_a_checkpoint_without_weights_ends_the_command_before_tasks_are_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = demo_copy(tmp_path, "model.safetensors")
    with pytest.raises(SystemExit) as ended:
        MoEHF.check_arguments(f"pretrained={folder}")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"\nerror: {folder} has no weights that can be load")


def test_several_requests_of_a_question_are_one_sample(model: MoEHF) -> None:
    choices = [scoring_request(i, text) for text in ("red", "blue", "yes") for i in range(2)]
    model.loglikelihood(choices)
    speed = model.moe_eval_records[TASK].speed
    assert speed.n_samples == speed.e2e_latency_s.n == 2
    model.generate_until([request(0)] * 3)
    assert model.moe_eval_records[TASK].speed.n_samples == 1


def test_the_seed_of_the_host_draws_the_answers(model: MoEHF) -> None:
    first = sample(model, 11)
    assert model.moe_eval_records[TASK].provenance["seed"] == 11
    assert sample(model, 22) != first
    assert model.moe_eval_records[TASK].provenance["seed"] == 22
    assert sample(model, 11) == first


def test_sampled_answers_do_not_depend_on_other_tasks_or_earlier_batches(model: MoEHF) -> None:
    first = sample(model, 11)
    assert sample(model, 11, "other", TASK)[N_ASKED:] == first
    # Batches of four: the last two questions are in a batch of their own.
    torch.manual_seed(11)
    state = torch.initial_seed()
    assert len(repeat(model)) > 1
    assert torch.initial_seed() == state


def test_a_seed_of_ours_comes_before_that_of_the_host(model: MoEHF) -> None:
    first = sample(model, 11)
    model.options = replace(model.options, seed=11)
    try:
        assert sample(model, 22) == first
    finally:
        model.options = replace(model.options, seed=None)


@pytest.mark.parametrize(("n_rows", "code"), [(1, None), (4, 3)])
def test_a_few_answers_from_nan_are_counted_and_many_end_the_run(
    model: MoEHF, caplog: pytest.LogCaptureFixture, n_rows: int, code: int | None
) -> None:
    calls = 0

    def spoil(_module: Any, _args: Any, logits: torch.Tensor) -> None:
        nonlocal calls
        calls += 1
        # The first two calls verify k, with a prompt and a token of each answer.
        if calls == 3:
            logits[:n_rows].fill_(torch.nan)

    hook = model.engine.model.lm_head.register_forward_hook(spoil)
    asked = [request(i) for i in range(N_QUESTIONS)]
    try:
        if code is not None:
            with pytest.raises(SystemExit) as ended:
                model.generate_until(asked)
            assert ended.value.code == code
            return
        answers = model.generate_until(asked)
    finally:
        hook.remove()
    assert sum(not answer.text for answer in answers) == 1
    provenance = model.moe_eval_records[TASK].provenance
    assert provenance["n_unanswered"] == 1
    assert "NaN or infinity" in provenance["unanswered"][0]["reason"]
    assert "1 of 12 questions" in caplog.text
