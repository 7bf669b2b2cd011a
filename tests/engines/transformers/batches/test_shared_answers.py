"""Shared images change no answer, and whatever cannot share them is answered as before."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from easy_vqa import get_test_image_paths

from moe_eval_plugin.engines.transformers.batches import sharing_check
from moe_eval_plugin.engines.transformers.batches.preparing import prepare
from moe_eval_plugin.engines.transformers.batches.shared_inputs import encode_shared
from moe_eval_plugin.engines.transformers.batches.sharing_plan import SharingPlan, plan_sharing
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.engines.transformers.shared.images import ImageOutputs
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.vqa.images import read_image
from tests.engines.transformers.batches.image_jobs import (
    TASK,
    Listener,
    answered,
    conversation,
    image_jobs,
    job,
    picture,
    questions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.engines.request import Job


@pytest.fixture(scope="module")
def engine() -> Iterator[HFEngine]:
    engine = HFEngine(EngineOptions("demo", dtype="float32"))
    yield engine
    engine.close()


def planned(engine: HFEngine, jobs: list[Job], how: str = "auto") -> SharingPlan:
    return plan_sharing(engine, jobs, how)


def reason(engine: HFEngine, jobs: list[Job]) -> str | None:
    return planned(engine, jobs).reasons[TASK]


@pytest.mark.parametrize(
    ("k", "policy"),
    [
        *((k, None) for k in (8, 4, 2, 1, "prefill:8/decode:1", "text:8/image:2")),
        (8, "modes:0.02:0.2:1"),
    ],
)
def test_answers_are_those_of_images_computed_each_time(
    engine: HFEngine, k: object, policy: str | None
) -> None:
    jobs, listener = image_jobs(8, most=6), Listener()
    engine.set_experts(k, policy)
    try:
        sharing = planned(engine, jobs, "yes")
        assert answered(engine, jobs, sharing, 16, listener) == answered(engine, jobs, None)
    finally:
        engine.set_experts()
    assert all(batch.is_shared for batch in listener.batches)
    assert sum(batch.n_samples for batch in listener.batches) == len(jobs)


@pytest.mark.parametrize("k", [8, 1])
def test_log_probabilities_are_those_of_images_computed_each_time(engine: HFEngine, k: int) -> None:
    rows = questions(6)
    groups = [
        [conversation([picture(number)], text) for of, text in rows if of == number]
        for number in dict.fromkeys(number for number, _ in rows)
    ]
    engine.set_experts(k)
    plain = engine.encode([one for group in groups for one in group])
    shared = encode_shared(engine, groups)
    assert shared.layout is not None
    assert shared.n_input_tokens == plain.n_input_tokens
    with torch.inference_mode():
        expected = sharing_check._logits(engine.model, plain.tensors)
        prefixes = engine.compute_prefixes(shared, shared.layout)
        found = sharing_check._logits(engine.model, prefixes.continued(engine.model, shared.layout))
    engine.set_experts()
    assert (expected.log_softmax(-1) - found.log_softmax(-1)).abs().max() < 1e-4


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_any_batch_size_has_the_same_answers(engine: HFEngine, batch_size: int) -> None:
    jobs = image_jobs(3)
    found = answered(engine, jobs, planned(engine, jobs), batch_size)
    assert found == answered(engine, jobs, None)


def test_images_of_several_sizes_and_several_images_share_a_batch(engine: HFEngine) -> None:
    sizes = [(64, 64), (128, 64), (96, 160)]
    jobs = [
        job(number, conversation(images, text), key)
        for key, images in enumerate(
            [[picture(i, size)] for i, size in enumerate(sizes)]
            + [[picture(4), picture(5, (64, 128))]]
        )
        for number, (_, text) in enumerate(questions(1), start=10 * key)
    ]
    listener = Listener()
    found = answered(engine, jobs, planned(engine, jobs, "yes"), 16, listener)
    assert found == {one.index: answered(engine, [one], None)[one.index] for one in jobs}
    assert all(batch.is_shared for batch in listener.batches)


def test_questions_without_an_image_are_answered_beside_those_with_one(engine: HFEngine) -> None:
    jobs = [*image_jobs(2), job(90, conversation([], "Is two more than one?"))]
    assert answered(engine, jobs, planned(engine, jobs)) == answered(engine, jobs, None)


def test_other_words_before_the_image_share_nothing(engine: HFEngine) -> None:
    image = picture(0)
    jobs = [
        job(index, conversation([image], "what is it?", system), key)
        for index, (system, key) in enumerate([("Be brief.", 0), ("Be brief.", 0), ("Be kind.", 0)])
    ]
    listener = Listener()
    sharing = planned(engine, jobs[:2])
    sharing.keys[jobs[2]] = sharing.keys[jobs[0]]
    assert answered(engine, jobs, sharing, 16, listener) == answered(engine, jobs, None)
    assert not any(batch.is_shared for batch in listener.batches)
    assert reason(engine, jobs[1:]) == "the prompts differ before the end of the image"


def test_a_question_before_its_image_shares_nothing(engine: HFEngine) -> None:
    image = {"type": "image", "image": picture(0)}
    jobs = [
        job(i, [{"role": "user", "content": [{"type": "text", "text": text}, image]}], 0)
        for i, (_, text) in enumerate(questions(1))
    ]
    assert reason(engine, jobs) == "the prompts differ before the end of the image"


@pytest.mark.parametrize(("how", "n_decoded"), [("yes", 2), (None, 6)])
def test_a_file_is_decoded_once_for_the_questions_that_share_it(
    engine: HFEngine, how: str | None, n_decoded: int
) -> None:
    decoded: list[Any] = []

    def build(number: int, text: str) -> list[dict[str, Any]]:
        decoded.append(read_image(get_test_image_paths()[number]))
        return conversation([decoded[-1]], text)

    jobs = [
        replace(job(index, conversation([], text), number), build=partial(build, number, text))
        for index, (number, text) in enumerate(questions(2, most=3))
    ]
    sharing = planned(engine, jobs, how) if how else None
    decoded.clear()
    prepare(engine, jobs, sharing)
    assert len({id(image) for image in decoded}) == n_decoded


def test_images_that_differ_under_one_name_share_nothing(engine: HFEngine) -> None:
    jobs = image_jobs(2)
    mixed = [job(one.index, one.build(), "the same") for one in jobs]
    assert reason(engine, mixed) == "questions that the data give the same image have several"
    sharing = planned(engine, jobs)
    sharing.keys = dict.fromkeys(jobs, "the same")
    listener = Listener()
    assert answered(engine, jobs, sharing, 16, listener) == answered(engine, jobs, None)
    assert not any(batch.is_shared for batch in listener.batches)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"temperature": 1.0}, "its answers are sampled"),
        ({"num_beams": 2}, "num_beams=2"),
        ({"no_repeat_ngram_size": 3}, "no_repeat_ngram_size=3"),
    ],
)
def test_settings_that_see_more_than_one_token_share_nothing(
    engine: HFEngine, settings: dict[str, Any], why: str
) -> None:
    assert why in str(reason(engine, image_jobs(1, **settings)))


def test_a_penalty_on_repeated_tokens_sees_the_whole_prompt(engine: HFEngine) -> None:
    longer = {"min_new_tokens": 6, "max_new_tokens": 6}
    jobs = image_jobs(2, repetition_penalty=3.0, **longer)
    alone = {one.index: answered(engine, [one], None)[one.index] for one in jobs}
    assert answered(engine, jobs, planned(engine, jobs, "yes")) == alone
    assert alone != answered(engine, image_jobs(2, **longer), None)


def test_yes_refuses_what_cannot_share_and_no_shares_nothing(engine: HFEngine) -> None:
    jobs = [*image_jobs(1, most=1), *image_jobs(1, most=1)]
    apart = [job(i, one.build(), i) for i, one in enumerate(jobs)]
    with pytest.raises(InvalidArgumentError, match=r"share_images=yes .* easy_vqa .* no two"):
        planned(engine, apart, "yes")
    assert not planned(engine, image_jobs(1), "no").keys
    assert planned(engine, image_jobs(1), "no").reasons == {TASK: "share_images=no"}


def test_groups_never_mix_tasks(engine: HFEngine) -> None:
    jobs = image_jobs(1)
    others = [job(50 + one.index, one.build(), 0, task="other") for one in jobs]
    listener = Listener()
    both = [*jobs, *others]
    found = answered(engine, both, planned(engine, both, "yes"), 16, listener)
    assert [batch.task for batch in listener.batches] == [TASK, "other"]
    assert [found[one.index] for one in jobs] == [found[one.index] for one in others]


def test_a_question_that_is_refused_leaves_the_others_of_its_image(engine: HFEngine) -> None:
    jobs = image_jobs(2)
    bad = job(99, conversation([picture(0)], "what is <|image_pad|>?"), jobs[0].read_image_key())
    listener = Listener()
    both = [*jobs, bad]
    assert answered(engine, both, planned(engine, both), 16, listener) == answered(
        engine, jobs, None
    )
    assert listener.refused == [99]


@pytest.mark.parametrize("most_rows", [1, 3])
def test_out_of_memory_after_a_shared_prefix_loses_nothing(
    engine: HFEngine, monkeypatch: pytest.MonkeyPatch, most_rows: int
) -> None:
    jobs = image_jobs(3)
    expected = answered(engine, jobs, None)
    generate = engine.model.generate

    def short_of_memory(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > most_rows:
            message = "CUDA out of memory."
            raise torch.OutOfMemoryError(message)
        return generate(**inputs)

    sharing = planned(engine, jobs)
    monkeypatch.setattr(engine.model, "generate", short_of_memory)
    listener = Listener()
    assert answered(engine, jobs, sharing, 8, listener) == expected
    assert sum(batch.n_samples for batch in listener.batches) == len(jobs)
    assert all(batch.is_shared for batch in listener.batches)


def test_memory_for_one_prompt_and_none_to_share_ends_sharing(
    engine: HFEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = image_jobs(2)
    expected = answered(engine, jobs, None)

    def too_large(*_: Any) -> Any:
        message = "CUDA out of memory."
        raise torch.OutOfMemoryError(message)

    sharing = planned(engine, jobs)
    monkeypatch.setattr(engine, "compute_prefixes", too_large)
    listener = Listener()
    assert answered(engine, jobs, sharing, 4, listener) == expected
    assert not any(batch.is_shared for batch in listener.batches)


def test_a_model_that_counts_otherwise_after_a_prefix_shares_nothing(
    engine: HFEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = engine.model._prepare_position_ids_for_generation

    def shifted(*given: Any) -> Any:
        return own(*given) // 2

    monkeypatch.setattr(engine.model, "_prepare_position_ids_for_generation", shifted)
    monkeypatch.setattr(sharing_check, "_logits", _with_own_positions(own, engine.model))
    assert "the logits after a shared prefix differ" in str(reason(engine, image_jobs(1)))


def _with_own_positions(own: Any, model: Any) -> Any:
    logits = sharing_check._logits

    def computed(given_model: Any, inputs: Any) -> Any:
        if "position_ids" in inputs:
            return logits(given_model, inputs)
        others = {name: value for name, value in inputs.items() if name != "input_ids"}
        return logits(given_model, {**inputs, "position_ids": own(inputs["input_ids"], others)})

    assert model is not None
    return computed


def test_the_image_tower_runs_once_for_all_k(engine: HFEngine) -> None:
    jobs, calls = image_jobs(3), []
    hook = engine.model.model.visual.patch_embed.register_forward_hook(lambda *_: calls.append(1))
    engine.image_outputs = ImageOutputs(1 << 30)
    try:
        answers, n_calls = {}, {}
        for k in (8, 4):
            engine.set_experts(k)
            sharing = planned(engine, jobs)
            calls.clear()
            answers[k] = answered(engine, jobs, sharing)
            n_calls[k] = len(calls)
        assert n_calls == {8: 1, 4: 0}
        engine.image_outputs = None
        assert answers[4] == answered(engine, jobs, None)
        assert "forward" not in vars(engine.model.model.visual)
    finally:
        hook.remove()
        engine.image_outputs = None
        engine.set_experts()


def test_without_room_the_image_tower_runs_again(engine: HFEngine) -> None:
    jobs = image_jobs(2)
    engine.image_outputs = ImageOutputs(1)
    try:
        for _ in range(2):
            assert answered(engine, jobs, planned(engine, jobs)) == answered(engine, jobs, None)
    finally:
        engine.image_outputs = None
