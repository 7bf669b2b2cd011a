"""The model of a sweep: k changed live, inputs encoded once, journaled batches not run again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from moe_eval_plugin.sweeps.workers.batch_store import ENCODED_ONCE
from moe_eval_plugin.sweeps.workers.input_cache import InputCache
from tests.hosts.lmms_eval.announced_runs import two_rounds
from tests.hosts.lmms_eval.easy_requests import (
    N_QUESTIONS,
    TASK,
    messages,
    request,
    scoring_request,
)
from tests.sweeps.workers.resident_runs import ARGUMENTS, Heard, answer, keep_batches, switch_to

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.sweeps.workers.lmms_eval_model import (
        ResidentMoEHF,
    )


def weights(model: ResidentMoEHF) -> dict[str, int]:
    return {name: p.data_ptr() for name, p in model.engine.model.named_parameters()}


@pytest.mark.parametrize("experts_k", [4, 1, "8/image:2", 8])
def test_a_live_change_answers_as_a_model_that_was_loaded_for_it(
    model: ResidentMoEHF, tmp_path: Path, experts_k: object
) -> None:
    fresh = MoEHF(**ARGUMENTS, experts_k=experts_k)
    fresh.task_dict = model.task_dict
    expected = answer(fresh)
    loaded = weights(model)
    keep_batches(model, tmp_path / "k.jsonl")
    switch_to(model, experts_k)
    assert answer(model) == expected
    assert model.moe_eval_records[TASK].experts == fresh.moe_eval_records[TASK].experts
    assert weights(model) == loaded


def test_the_steps_of_a_point_are_announced_in_their_order(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    keep_batches(model, tmp_path / "k.jsonl")
    switch_to(model, 4)
    heard = model.progress = Heard()
    answer(model)
    del model.progress
    assert heard.steps == [
        f"encoding {N_QUESTIONS} questions",
        "verifying the experts that tokens use",
        "4 of 32 experts in 4 of 4 layers",
    ]


def test_a_rule_and_a_seed_change_live_too(model: ResidentMoEHF, tmp_path: Path) -> None:
    keep_batches(model, tmp_path / "k.jsonl")
    switch_to(model, 8, experts_policy="top_p:0.5", renorm="unit", seed=3)
    answer(model)
    record = model.moe_eval_records[TASK]
    assert record.experts.observed < 8
    assert record.provenance["experts_policy"] == "top_p:0.5"
    assert record.provenance["seed"] == 3
    switch_to(model, 8)
    answer(model)
    assert model.moe_eval_records[TASK].experts.observed == 8


def test_a_model_that_cannot_be_set_is_left_as_published(model: ResidentMoEHF) -> None:
    switch_to(model, 4)
    compiled = model.engine.model.lm_head
    compiled._compiled_call_impl = object()
    try:
        with pytest.raises(OverrideError, match="compiled"):
            model.engine.set_experts(2)
    finally:
        compiled._compiled_call_impl = None
    model.engine.set_experts()
    with torch.no_grad():
        verified = model.engine.verify(
            [[{"role": "user", "content": [{"type": "text", "text": "a"}]}]]
        )
    assert verified.observed == 8


def test_batches_of_the_journal_are_not_run_again(
    model: ResidentMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k2.jsonl"
    told = keep_batches(model, path)
    switch_to(model, 2)
    texts = answer(model)
    whole = model.moe_eval_records[TASK].speed
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    generate = model.engine.generate
    run: list[int] = []

    def counted(batch: Any, *args: Any) -> Any:
        run.append(len(batch.n_input_tokens))
        return generate(batch, *args)

    monkeypatch.setattr(model, "_verify", lambda _: model._experts.update({TASK: None}))
    again = keep_batches(model, path)
    switch_to(model, 2)
    monkeypatch.setattr(model.engine, "generate", counted)
    assert answer(model) == texts
    assert run == [4]
    assert again == told
    assert model.moe_eval_records[TASK].speed.n_samples == whole.n_samples == N_QUESTIONS


def answer_twice(model: ResidentMoEHF, kept: Path) -> None:
    """Answer everything at k=2, and once more from the batches that were kept."""
    for _ in range(2):
        keep_batches(model, kept)
        switch_to(model, 2)
        answer(model)


def test_energy_of_a_part_is_not_given_as_that_of_the_whole(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    answer_twice(model, tmp_path / "k2.jsonl")
    record = model.moe_eval_records[TASK]
    assert record.hardware.joules is None
    assert "interrupted" in " ".join(record.provenance["energy"]["reasons"])
    assert record.provenance["n_answered_before"] == N_QUESTIONS
    assert record.speed.n_samples == N_QUESTIONS


def test_a_run_of_another_kind_says_nothing_of_the_run_before_it(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    answer_twice(model, tmp_path / "k2.jsonl")
    runs = {
        "loglikelihood": [scoring_request(0, "red")],
        "generate_until_multi_round": [request(0, to_messages=two_rounds)],
    }
    for kind, asked in runs.items():
        getattr(model, kind)(asked)
        record = model.moe_eval_records[TASK]
        assert "inputs" not in record.provenance
        assert "encode_s" not in record.provenance
        assert record.provenance["n_answered_before"] == 0
        reasons = (record.provenance["energy"] or {}).get("reasons", [])
        assert "interrupted" not in " ".join(reasons)
    answer(model)
    assert model.moe_eval_records[TASK].provenance["inputs"] == ENCODED_ONCE


def test_a_batch_that_did_not_fit_is_halved_again_after_a_crash(
    model: ResidentMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = model.engine.generate
    sizes: list[int] = []

    def small_memory(batch: Any, *args: Any) -> Any:
        if len(batch.n_input_tokens) > 2:
            message = "CUDA out of memory. Tried to allocate 2.00 GiB"
            raise torch.OutOfMemoryError(message)
        sizes.append(len(batch.n_input_tokens))
        return generate(batch, *args)

    monkeypatch.setattr(model, "_verify", lambda _: model._experts.update({TASK: None}))
    monkeypatch.setattr(model.engine, "generate", small_memory)
    path = tmp_path / "k2.jsonl"
    keep_batches(model, path)
    switch_to(model, 2)
    texts = answer(model)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    model.batch_size = 4
    sizes.clear()
    keep_batches(model, path)
    switch_to(model, 2)
    assert answer(model) == texts
    assert sum(sizes) == N_QUESTIONS - 3 * 2
    model.batch_size = 4


def test_a_question_that_cannot_be_asked_is_left_out_at_every_k(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    """A batch without it is answered once, also where the sweep was interrupted."""

    def without_image(doc: dict[str, Any], **_: object) -> list[dict[str, Any]]:
        [message] = messages(doc)
        return [{**message, "content": [{"type": "image", "url": None}, *message["content"][1:]]}]

    asked = [request(i, without_image if i in (1, 7) else messages) for i in range(N_QUESTIONS)]
    switch_to(model, 8)
    model.options = replace(model.options, unanswerable="count")
    inputs = InputCache(2**30)
    answers = []
    for expected in (10, 0):
        sizes = keep_batches(model, tmp_path / "k.jsonl", inputs)
        answers.append([one.text for one in model.generate_until(asked)])
        record = model.moe_eval_records[TASK]
        assert record.speed.n_samples == 10
        assert record.provenance["n_unanswered"] == 2
        assert record.provenance["n_answered_before"] == 10 - expected
        assert sum(sizes) == 10
        assert model.batch_size == ARGUMENTS["batch_size"]
    assert answers[0] == answers[1]
    assert [i for i, text in enumerate(answers[0]) if not text] == [1, 7]
    model.options = replace(model.options, unanswerable="error")
    with pytest.raises(SystemExit):
        model.generate_until(asked)
