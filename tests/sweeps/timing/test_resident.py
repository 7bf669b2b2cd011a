"""Blocks on the embedded model: the same batches at each k, unshared, with their phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.engines.transformers.engine import VERIFICATION_ARGUMENTS
from moe_eval_plugin.engines.transformers.shared.images import ImageOutputs
from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.timing import resident
from moe_eval_plugin.sweeps.timing.interleaved import run_pass
from moe_eval_plugin.sweeps.timing.resident import ResidentTimer
from moe_eval_plugin.sweeps.workers.lmms_eval_model import ResidentMoEHF
from tests.hosts.lmms_eval.easy_requests import (
    SPLIT,
    TASK,
    messages,
    questions,
    request,
    scoring_request,
)
from tests.sweeps.timing.timers import wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lmms_eval.api.instance import Instance

    from moe_eval_plugin.results.timing.timed_pass import TimedPass

POINTS = (
    SweepPoint("k8", "8", is_baseline=True),
    SweepPoint("k2", "2"),
    SweepPoint("k4-top_p-0.5", "4", "top_p:0.5"),
)
NAMES = tuple(point.name for point in POINTS)
N_QUESTIONS = 6


class EasyHost:
    """A host with the questions of easy-VQA, each of which ``ask`` turns into requests."""

    def __init__(self, ask: Callable[[int], list[Instance]]) -> None:
        self._ask = ask

    def requests(self, model: Any, _: str, positions: tuple[int, ...]) -> list[Instance]:
        model.task_dict = {TASK: {SPLIT: questions()}}
        return [one for position in positions for one in self._ask(position)]


@pytest.fixture(scope="module")
def model() -> Iterator[ResidentMoEHF]:
    model = ResidentMoEHF(pretrained="demo", batch_size=4, dtype="float32", unanswerable="count")
    yield model
    model.engine.close()


def timed(
    model: ResidentMoEHF, folder: Path, batch_size: int = 2, ask: Any = lambda i: [request(i)]
) -> TimedPass:
    """Time one block of a few questions after the warm-up."""
    one = wanted(
        batch_size=batch_size,
        settings=NAMES,
        sample=tuple(range(N_QUESTIONS)),
        budget_s=0.001,
    )
    model.engine.image_outputs = ImageOutputs(10**9)
    timer = ResidentTimer(model, EasyHost(ask), POINTS)  # type: ignore[arg-type]
    assert model.engine.image_outputs is None
    return run_pass(folder, one, timer)


@pytest.fixture
def set_to(model: ResidentMoEHF, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The k and the input tokens of each call of the model, as they come."""
    calls: list[tuple[str, Any]] = []
    generate = model.engine.generate

    def watched(encoded: Any, *arguments: Any, **more: Any) -> Any:
        resolved = model.engine.request.resolved
        assert resolved is not None
        text = f"{resolved.schedule.text} {model.engine.request.rule.policy_text}"
        calls.append((text, encoded.tensors["input_ids"].tolist()))
        return generate(encoded, *arguments, **more)

    monkeypatch.setattr(model.engine, "generate", watched)
    return calls


def test_every_setting_is_timed_on_the_same_batches(
    model: ResidentMoEHF, set_to: list[tuple[str, Any]], tmp_path: Path
) -> None:
    found = timed(model, tmp_path)
    assert [block.is_warm_up for block in found.blocks] == [True, False]
    inputs: dict[str, list[Any]] = {}
    for setting, tokens in set_to:
        inputs.setdefault(setting, []).append(tokens)
    assert sorted(inputs) == ["2 uniform", "4 top_p:0.5", "8 uniform"]
    first, *others = inputs.values()
    assert all(one == first for one in others)
    # One call verifies k, before anything is timed.
    assert len(first) == 1 + 2 * N_QUESTIONS / 2


def test_a_sample_that_cannot_be_asked_is_one_error(
    model: ResidentMoEHF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "first_encodable", lambda *_: [])
    with pytest.raises(DataError, match=r"None of the 6 questions .* --timing-seed"):
        timed(model, tmp_path)
    assert not (tmp_path / "timing").exists()


def test_a_request_is_timed_with_its_encoding_and_by_phase(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    found = timed(model, tmp_path)
    for batch in found.counted[0].batches["k2"]:
        assert batch.n_samples == 2
        assert batch.phases is not None
        assert (batch.phases.vision_s or 0) > 0
        assert batch.encode_s is not None
        assert batch.generate_s is not None
        assert batch.encode_s + batch.generate_s <= batch.wall_s
        assert not batch.is_shared
    memory = found.hardware("k2").peak_memory
    assert memory is not None
    assert memory.process_bytes > 0
    load = found.counted[0].load
    assert load is not None
    assert load.n_cores > 0


def test_nothing_is_timed_at_a_k_that_tokens_do_not_use(
    model: ResidentMoEHF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_experts = model.engine.set_experts

    def forgetful(*arguments: Any) -> None:
        set_experts(*arguments)
        if arguments[0] == "2":
            for router in model.engine.model.modules():
                if hasattr(router, "top_k"):
                    router.top_k = 8

    monkeypatch.setattr(model.engine, "set_experts", forgetful)
    with pytest.raises(OverrideNotEffectiveError, match="2"):
        timed(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_halved_for_all_settings(
    model: ResidentMoEHF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    generate = model.engine.generate

    def small(encoded: Any, *arguments: Any, **more: Any) -> Any:
        is_timed = arguments[0] is not VERIFICATION_ARGUMENTS
        is_other = model.engine.request.rule.policy_text != "uniform"
        if is_timed and is_other and len(encoded.n_input_tokens) > 2:
            message = "CUDA out of memory."
            raise torch.OutOfMemoryError(message)
        return generate(encoded, *arguments, **more)

    monkeypatch.setattr(model.engine, "generate", small)
    found = timed(model, tmp_path, batch_size=4)
    assert found.batch_size == 2
    batches = [one for block in found.blocks for name in NAMES for one in block.batches[name]]
    assert {batch.n_samples for batch in batches} == {2}


def test_multiple_choice_questions_are_timed_one_by_one(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    def choices(position: int) -> list[Instance]:
        return [scoring_request(position, text) for text in ("yes", "no")]

    found = timed(model, tmp_path, 1, choices)
    batches = found.counted[0].batches["k2"]
    assert [batch.n_samples for batch in batches] == [1] * N_QUESTIONS
    speed = found.speed("k2")
    assert speed is not None
    assert speed.samples_per_s is not None


def test_a_question_that_cannot_be_put_to_the_model_is_left_out_everywhere(
    model: ResidentMoEHF, tmp_path: Path
) -> None:
    def without_image(doc: dict[str, Any], **_: object) -> list[dict[str, Any]]:
        [message] = messages(doc)
        return [{**message, "content": [{"type": "image", "url": None}]}]

    found = timed(model, tmp_path, 1, lambda i: [request(i, without_image if i == 3 else messages)])
    for name in NAMES:
        assert len(found.counted[0].batches[name]) == N_QUESTIONS - 1
