"""Batches: the answers of each alone, without padding where it can be, and prepared beside."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.request import Job, QuestionCounter
from moe_eval_plugin.engines.transformers.batches.batch_runner import BatchRunner
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.timing import read_clock
from tests.hosts.lmms_eval.easy_requests import GENERATION, messages, questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moe_eval_plugin.engines.transformers.batches.batch_runner import Outcome
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


class Refusals:
    """A listener that keeps what is refused."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}
        self.n_failed = 0

    def refuse(self, job: Job, reason: str) -> None:
        self.reasons[job.index] = reason

    def request_failed(self, task: str) -> None:
        assert task == "easy_vqa"
        self.n_failed += 1

    def batch_end(self, _timing: BatchTiming, _n_requests: int) -> bool:
        raise NotImplementedError


def run(
    engine: HFEngine,
    batch_size: int,
    todo: list[Job] | None = None,
    after_batch: Callable[[BatchTiming], None] = lambda _timing: None,
    listener: Refusals | None = None,
    *,
    overlaps: bool = False,
) -> Outcome:
    stopwatch, todo = Stopwatch(lambda: None, None), jobs() if todo is None else todo
    runner = BatchRunner(
        engine,
        stopwatch,
        listener or Refusals(),
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
        message = "no memory is left"
        raise MemoryError(message)

    bad = Job(1, second.task, 1, second.context, broken, second.settings)
    with pytest.raises(MemoryError, match="no memory is left"):
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


def with_parts(image: Any, text: str) -> Callable[[], list[dict[str, Any]]]:
    parts = [{"type": "image", "image": image}, {"type": "text", "text": text}]
    return lambda: [{"role": "user", "content": parts}]


def broken_jobs() -> dict[int, tuple[Callable[[], list[dict[str, Any]]], str]]:
    """Return conversations that cannot be encoded, by the index of their job, and the reasons."""
    image = Image.new("RGB", (64, 64), "red")
    return {
        1: (with_parts(Image.new("RGB", (1000, 4)), "What is it?"), "aspect ratio"),
        2: (with_parts(image, "Is <|image_pad|> red?"), 'its text has "<|image_pad|>"'),
        5: (with_parts(None, "What is it?"), "it has no image"),
        6: (with_parts(Image.new("RGB", (0, 9)), "What?"), r"it has no pixels \(0 x 9\)"),
        9: (with_parts(image, "What? " * 5000), "the model takes 512"),
    }


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_only_questions_that_cannot_be_encoded_are_left_out(
    engine: HFEngine, batch_size: int, overlaps: bool
) -> None:
    broken, good = broken_jobs(), run(engine, 1, jobs(11)).answers
    todo = [
        replace(job, build=broken[job.index][0]) if job.index in broken else job for job in jobs(11)
    ]
    refusals, timings = Refusals(), []
    outcome = run(engine, batch_size, todo, timings.append, refusals, overlaps=overlaps)
    assert outcome.answers == {i: one for i, one in good.items() if i not in broken}
    assert sum(timing.n_samples for timing in timings) == 6
    assert refusals.reasons.keys() == broken.keys()
    assert refusals.n_failed == 5
    for index, (_, reason) in broken.items():
        assert re.search(reason, refusals.reasons[index])
    # Batches keep their size.
    assert outcome.batch_size == batch_size


def test_an_error_that_is_not_of_one_question_ends_the_run(engine: HFEngine) -> None:
    def no_video() -> Any:
        message = "this model takes no videos"
        raise InvalidArgumentError(message)

    todo = [replace(job, build=no_video) for job in jobs(2)]
    with pytest.raises(InvalidArgumentError, match="takes no videos"):
        run(engine, 2, todo)
