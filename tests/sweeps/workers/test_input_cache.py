from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.sweeps.workers.batch_store import ENCODED_AGAIN, ENCODED_ONCE
from moe_eval_plugin.sweeps.workers.input_cache import InputCache
from tests.hosts.lmms_eval.easy_requests import N_QUESTIONS, TASK
from tests.sweeps.workers.resident_runs import GIB, answer, keep_batches, switch_to

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from moe_eval_plugin.sweeps.workers.lmms_eval_model import ResidentMoEHF


def test_inputs_are_encoded_once_and_are_the_same_tensors(
    model: ResidentMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    keep_batches(model, tmp_path / "k4.jsonl", inputs)
    switch_to(model, 4)
    answer(model)
    keep_batches(model, tmp_path / "k2.jsonl", inputs)
    switch_to(model, 2)
    answer(model)
    assert sum(encoded) == N_QUESTIONS
    assert after_an_answer == []
    assert len(shown) == 2 * len(encoded)
    for first, second in zip(shown[: len(encoded)], shown[len(encoded) :], strict=True):
        assert first.keys() == second.keys()
        assert all(first[name].data_ptr() == second[name].data_ptr() for name in first)


def test_inputs_beyond_the_limit_are_encoded_again_and_answer_alike(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    everything, one_batch = InputCache(GIB), InputCache(0)
    texts, told = [], []
    for name, inputs in (("a", everything), ("b", one_batch), ("c", one_batch)):
        keep_batches(model, tmp_path / name, inputs)
        switch_to(model, 2)
        texts.append(answer(model))
        told.append(model.moe_eval_records[TASK].provenance["inputs"])
    assert told == [ENCODED_ONCE, ENCODED_AGAIN, ENCODED_AGAIN]
    assert texts[0] == texts[1] == texts[2]
    assert everything.n_bytes > 0
    assert one_batch.n_bytes == 0


def test_the_clock_stands_still_while_inputs_are_encoded(
    model: ResidentMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        keep_batches(model, tmp_path / name, inputs)
        switch_to(model, 1)
        answer(model)
        record = model.moe_eval_records[TASK]
        speeds.append(record.speed)
        assert record.provenance["encode_s"][TASK] >= slow_s * N_QUESTIONS / 4
        assert record.speed.ttft_s.median >= slow_s
    assert speeds[0].phases.host_gap_s < slow_s * N_QUESTIONS / 4
