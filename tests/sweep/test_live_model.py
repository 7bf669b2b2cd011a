"""The model of a sweep: k changed live, inputs encoded once, journaled batches not run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from moe_eval_plugin.sweep.inputs import InputCache
from moe_eval_plugin.sweep.journal import Journal
from moe_eval_plugin.sweep.live_model import (
    ENCODED_AGAIN,
    ENCODED_ONCE,
    LiveMoEHF,
    Surroundings,
)
from tests.adapters.easy_requests import N_QUESTIONS, SPLIT, TASK, questions, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIB = 2**30
ARGUMENTS = {"pretrained": "demo", "batch_size": 4, "dtype": "float32"}


@pytest.fixture(scope="module")
def model() -> Iterator[LiveMoEHF]:
    model = LiveMoEHF(**ARGUMENTS, experts_k=8)
    model.task_dict = {TASK: {SPLIT: questions()}}
    yield model
    model.engine.close()


def surround(model: LiveMoEHF, path: Path, inputs: InputCache | None = None) -> list[int]:
    """Give the model a journal and an empty memory; return where it tells of its progress."""
    told: list[int] = []
    journal = Journal(path, {})
    model.surroundings = Surroundings(inputs or InputCache(GIB), journal, told.append)
    return told


def become(model: LiveMoEHF, experts_k: object, **more: object) -> None:
    given = {**ARGUMENTS, "experts_k": experts_k, **more}
    model.become(",".join(f"{name}={value}" for name, value in given.items()))


def answer(model: Any) -> list[str]:
    return [one.text for one in model.generate_until([request(i) for i in range(N_QUESTIONS)])]


def weights(model: LiveMoEHF) -> dict[str, int]:
    return {name: p.data_ptr() for name, p in model.engine.model.named_parameters()}


@pytest.mark.parametrize("experts_k", [4, 1, "8/image:2", 8])
def test_a_live_change_answers_as_a_model_that_was_loaded_for_it(
    model: LiveMoEHF, tmp_path: Path, experts_k: object
) -> None:
    fresh = MoEHF(**ARGUMENTS, experts_k=experts_k)
    fresh.task_dict = model.task_dict
    expected = answer(fresh)
    loaded = weights(model)
    surround(model, tmp_path / "k.jsonl")
    become(model, experts_k)
    assert answer(model) == expected
    assert model.moe_eval_records[TASK].experts == fresh.moe_eval_records[TASK].experts
    assert weights(model) == loaded


def test_a_rule_and_a_seed_change_live_too(model: LiveMoEHF, tmp_path: Path) -> None:
    surround(model, tmp_path / "k.jsonl")
    become(model, 8, experts_policy="top_p:0.5", renorm="unit", seed=3)
    answer(model)
    record = model.moe_eval_records[TASK]
    assert record.experts.observed < 8
    assert record.provenance["experts_policy"] == "top_p:0.5"
    assert record.provenance["seed"] == 3
    become(model, 8)
    answer(model)
    assert model.moe_eval_records[TASK].experts.observed == 8


def test_a_model_that_cannot_be_set_is_left_as_published(model: LiveMoEHF) -> None:
    become(model, 4)
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


def test_inputs_are_encoded_once_and_are_the_same_tensors(
    model: LiveMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    after_an_answer: list[int] = []
    shown: list[dict[str, Any]] = []
    encode, generate = model.engine.encode, model.engine.generate

    def counted(conversations: Any) -> Any:
        (after_an_answer if shown else encoded).append(len(conversations))
        return encode(conversations)

    def watched(batch: Any, *args: Any) -> Any:
        shown.append(dict(batch.tensors))
        return generate(batch, *args)

    monkeypatch.setattr(model, "_verify", lambda _: model._experts.update({TASK: None}))
    monkeypatch.setattr(model.engine, "encode", counted)
    monkeypatch.setattr(model.engine, "generate", watched)
    inputs = InputCache(GIB)
    surround(model, tmp_path / "k4.jsonl", inputs)
    become(model, 4)
    answer(model)
    surround(model, tmp_path / "k2.jsonl", inputs)
    become(model, 2)
    answer(model)
    assert sum(encoded) == N_QUESTIONS
    assert after_an_answer == []
    assert len(shown) == 2 * len(encoded)
    for first, second in zip(shown[: len(encoded)], shown[len(encoded) :], strict=True):
        assert first.keys() == second.keys()
        assert all(first[name].data_ptr() == second[name].data_ptr() for name in first)


def test_inputs_beyond_the_limit_are_encoded_again_and_answer_alike(
    model: LiveMoEHF, tmp_path: Path
) -> None:
    everything, one_batch = InputCache(GIB), InputCache(0)
    texts, told = [], []
    for name, inputs in (("a", everything), ("b", one_batch), ("c", one_batch)):
        surround(model, tmp_path / name, inputs)
        become(model, 2)
        texts.append(answer(model))
        told.append(model.moe_eval_records[TASK].provenance["inputs"])
    assert told == [ENCODED_ONCE, ENCODED_AGAIN, ENCODED_AGAIN]
    assert texts[0] == texts[1] == texts[2]
    assert everything.n_bytes > 0
    assert one_batch.n_bytes == 0


def test_the_clock_stands_still_while_inputs_are_encoded(
    model: LiveMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    encode = model.engine.encode
    slow_s = 0.2

    def slowly(conversations: Any) -> Any:
        time.sleep(slow_s)
        return encode(conversations)

    monkeypatch.setattr(model.engine, "encode", slowly)
    inputs = InputCache(GIB)
    speeds = []
    for name in ("first", "second"):
        surround(model, tmp_path / name, inputs)
        become(model, 1)
        answer(model)
        record = model.moe_eval_records[TASK]
        speeds.append(record.speed)
        assert record.provenance["encode_s"][TASK] >= slow_s * N_QUESTIONS / 4
        assert record.speed.ttft_s.median >= slow_s
    assert speeds[0].phases.host_gap_s < slow_s * N_QUESTIONS / 4


def test_batches_of_the_journal_are_not_run_again(
    model: LiveMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k2.jsonl"
    told = surround(model, path)
    become(model, 2)
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
    again = surround(model, path)
    become(model, 2)
    monkeypatch.setattr(model.engine, "generate", counted)
    assert answer(model) == texts
    assert run == [4]
    assert again == told
    assert model.moe_eval_records[TASK].speed.n_samples == whole.n_samples == N_QUESTIONS


def test_energy_of_a_part_is_not_given_as_that_of_the_whole(
    model: LiveMoEHF, tmp_path: Path
) -> None:
    path = tmp_path / "k2.jsonl"
    surround(model, path)
    become(model, 2)
    answer(model)
    from moe_eval_plugin.sweep.journal import PROCESS

    path.write_text(path.read_text().replace(PROCESS, "another"))
    surround(model, path)
    become(model, 2)
    answer(model)
    record = model.moe_eval_records[TASK]
    assert record.hardware.joules is None
    assert "interrupted" in " ".join(record.provenance["energy"]["reasons"])
    assert record.provenance["n_answered_before"] == N_QUESTIONS
    assert record.speed.n_samples == N_QUESTIONS


def test_a_batch_that_did_not_fit_is_halved_again_after_a_crash(
    model: LiveMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    surround(model, path)
    become(model, 2)
    texts = answer(model)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    model.batch_size = 4
    sizes.clear()
    surround(model, path)
    become(model, 2)
    assert answer(model) == texts
    assert sum(sizes) == N_QUESTIONS - 3 * 2
    model.batch_size = 4
