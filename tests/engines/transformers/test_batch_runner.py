"""Batches: the answers of each alone, without padding where it can be, and prepared beside."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.request import Job, QuestionCounter
from moe_eval_plugin.engines.transformers.batch_runner import BatchRunner
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.timing import read_clock
from tests.hosts.lmms_eval.easy_requests import GENERATION, messages, questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moe_eval_plugin.engines.transformers.batch_runner import Outcome
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.measure.timing import BatchTiming

N_JOBS = 24


@pytest.fixture(scope="module")
def engine() -> Iterator[HFEngine]:
    engine = HFEngine(EngineOptions("demo", dtype="float32"))
    yield engine
    engine.close()


def conversation(doc: dict[str, Any]) -> list[dict[str, Any]]:
    image, text = messages(doc)[0]["content"]
    return [{"role": "user", "content": [{"type": "image", "image": image["url"]}, text]}]


def jobs(n_jobs: int = N_JOBS) -> list[Job]:
    settings = read_settings(GENERATION, max_new_tokens=8)
    return [
        Job(i, "easy_vqa", i, doc["question"], lambda doc=doc: conversation(doc), settings)  # type: ignore[misc]
        for i, doc in enumerate(questions(n_jobs))
    ]


def run(
    engine: HFEngine,
    batch_size: int,
    todo: list[Job] | None = None,
    after_batch: Callable[[BatchTiming], None] = lambda _timing: None,
    *,
    overlaps: bool = False,
) -> Outcome:
    stopwatch, todo = Stopwatch(lambda: None, None), jobs() if todo is None else todo
    runner = BatchRunner(
        engine,
        stopwatch,
        lambda timing, _: after_batch(timing),
        QuestionCounter(todo),
        overlaps=overlaps,
    )
    return runner.run(todo, batch_size)


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_answers_are_token_for_token_those_of_each_request_alone(
    engine: HFEngine, batch_size: int, overlaps: bool
) -> None:
    outcome = run(engine, batch_size, overlaps=overlaps)
    for job in jobs():
        encoded = engine.encode([job.build()])
        alone = engine.generate(encoded, job.settings.arguments, job.settings.until)
        assert outcome.answers[job.index] == alone[0]
    assert len({answer.text for answer in outcome.answers.values()}) > 2


def test_questions_of_equal_length_come_together(
    engine: HFEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[Encoded] = []
    generate = engine.generate

    def spy(encoded: Encoded, *arguments: Any) -> Any:
        batches.append(encoded)
        return generate(encoded, *arguments)

    monkeypatch.setattr(engine, "generate", spy)
    run(engine, batch_size=4)
    lengths = [n for batch in batches for n in batch.n_input_tokens]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("overlaps", [False, True])
def test_times_of_batches_add_up_to_the_time_of_the_run(engine: HFEngine, overlaps: bool) -> None:
    batches: list[BatchTiming] = []
    ends = [read_clock()]

    def after_batch(batch: BatchTiming) -> None:
        batches.append(batch)
        ends.append(read_clock())

    run(engine, batch_size=4, after_batch=after_batch, overlaps=overlaps)
    total = sum(batch.wall_s for batch in batches)
    # Another process may run between the two readings of the clock.
    assert total == pytest.approx(ends[-1] - ends[0], rel=0.05)
    assert sum(batch.n_samples for batch in batches) == N_JOBS
    for batch in batches:
        assert batch.encode_s is not None
        assert batch.generate_s is not None
        assert batch.encode_s > 0
        assert 0 < batch.generate_s <= batch.wall_s
        assert batch.phases is None


@pytest.mark.parametrize(
    ("overlaps", "threads"), [(False, {"MainThread"}), (True, {"preprocess_0"})]
)
def test_batches_are_prepared_beside_the_model_only_where_asked(
    engine: HFEngine, monkeypatch: pytest.MonkeyPatch, overlaps: bool, threads: set[str]
) -> None:
    seen: set[str] = set()
    encode = engine.encode

    def encoding(conversations: Any) -> Encoded:
        seen.add(threading.current_thread().name)
        return encode(conversations)

    monkeypatch.setattr(engine, "encode", encoding)
    run(engine, batch_size=2, todo=jobs(4), overlaps=overlaps)
    assert seen == threads


@pytest.mark.parametrize("overlaps", [False, True])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(
    engine: HFEngine, monkeypatch: pytest.MonkeyPatch, overlaps: bool
) -> None:
    expected = run(engine, batch_size=3).answers
    generate = engine.generate

    def small_memory(encoded: Encoded, *arguments: Any) -> Any:
        if len(encoded.n_input_tokens) > 3:
            message = "CUDA out of memory."
            raise torch.OutOfMemoryError(message)
        return generate(encoded, *arguments)

    monkeypatch.setattr(engine, "generate", small_memory)
    outcome = run(engine, batch_size=12, overlaps=overlaps)
    assert outcome.answers == expected
    assert outcome.batch_size == 3


def test_the_next_batch_is_prepared_while_this_one_is_generated(
    engine: HFEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = [threading.Event() for _ in range(2)]
    built = iter(prepared)
    encode, generate = engine.encode, engine.generate
    n_generated = iter(range(2))

    def encoding(conversations: Any) -> Encoded:
        encoded = encode(conversations)
        next(built).set()
        return encoded

    def generating(*arguments: Any) -> Any:
        if next(n_generated) == 0:
            assert prepared[1].wait(timeout=60)
        return generate(*arguments)

    monkeypatch.setattr(engine, "encode", encoding)
    monkeypatch.setattr(engine, "generate", generating)
    assert len(run(engine, batch_size=2, todo=jobs(4), overlaps=True).answers) == 4


@pytest.mark.parametrize("overlaps", [False, True])
def test_an_error_while_preparing_ends_the_run(engine: HFEngine, overlaps: bool) -> None:
    first, second = jobs(2)

    def broken() -> Any:
        message = "the image cannot be read"
        raise OSError(message)

    bad = Job(1, second.task, 1, second.context, broken, second.settings)
    with pytest.raises(OSError, match="the image cannot be read"):
        run(engine, batch_size=1, todo=[first, bad], overlaps=overlaps)


@pytest.mark.parametrize("overlaps", [False, True])
def test_nothing_to_do_gives_no_batch(engine: HFEngine, overlaps: bool) -> None:
    batches: list[BatchTiming] = []
    outcome = run(engine, 4, [], batches.append, overlaps=overlaps)
    assert (outcome.answers, batches, outcome.batch_size) == ({}, [], 4)


@pytest.mark.parametrize("overlaps", [False, True])
def test_a_sample_is_a_question_however_often_it_is_asked(engine: HFEngine, overlaps: bool) -> None:
    repeated = [replace(job, index=index) for index, job in enumerate(jobs(3) * 4)]
    batches: list[BatchTiming] = []
    outcome = run(engine, 5, repeated, batches.append, overlaps=overlaps)
    assert len(outcome.answers) == 12
    assert sum(batch.n_samples for batch in batches) == 3
    assert sum(len(batch.output_tokens) for batch in batches) == 12
