"""Questions that cannot be put to the model end the run and are named, or count as unanswered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from tests.hosts.lmms_eval.easy_requests import (
    SPLIT,
    TASK,
    messages,
    questions,
    request,
    scoring_request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def numbered() -> list[dict[str, Any]]:
    return [{"question_id": 100 + i, **doc} for i, doc in enumerate(questions())]


@pytest.fixture(scope="module")
def counting() -> Iterator[MoEHF]:
    model = MoEHF(pretrained="demo", batch_size=4, dtype="float32", unanswerable="count")
    model.task_dict = {TASK: {SPLIT: numbered()}}
    yield model
    model.clean()


@pytest.fixture
def strict(counting: MoEHF, monkeypatch: pytest.MonkeyPatch) -> MoEHF:
    options = type(counting.options)(batch_size=4)
    monkeypatch.setattr(counting, "options", options)
    assert options.unanswerable == "error"
    return counting


def with_token(doc: dict[str, Any], **_: object) -> list[dict[str, Any]]:
    return messages(doc | {"question": "What is <|image_pad|>?"})


def without_image(doc: dict[str, Any], **_: object) -> list[dict[str, Any]]:
    [message] = messages(doc)
    return [{**message, "content": [{"type": "image", "url": None}, *message["content"][1:]]}]


@pytest.mark.parametrize("position", [0, 6])
def test_a_question_is_named_and_nothing_is_answered(
    strict: MoEHF, capsys: pytest.CaptureFixture[str], position: int
) -> None:
    asked = [request(i, with_token if i == position else messages) for i in range(8)]
    with pytest.raises(SystemExit) as ended:
        strict.generate_until(asked)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert (
        f"error: Question {100 + position} of {TASK} cannot be put to the model: its text" in said
    )
    assert "add unanswerable=count to --model_args" in said
    assert "Traceback" not in said


def test_questions_count_as_unanswered(counting: MoEHF, caplog: pytest.LogCaptureFixture) -> None:
    good = [answer.text for answer in counting.generate_until([request(i) for i in range(8)])]
    record = counting.moe_eval_records[TASK]
    assert (record.provenance["n_unanswered"], record.provenance["unanswered"]) == (0, [])
    broken = {0: with_token, 1: without_image, 6: without_image}
    answers = counting.generate_until([request(i, broken.get(i, messages)) for i in range(8)])
    expected = ["" if i in broken else text for i, text in enumerate(good)]
    assert [answer.text for answer in answers] == expected
    record = counting.moe_eval_records[TASK]
    assert record.speed.n_samples == 5
    assert record.experts.n_image_tokens == 4 * 16
    assert record.provenance["n_unanswered"] == 3
    unanswered = {one["question_id"]: one for one in record.provenance["unanswered"]}
    assert sorted(unanswered) == [100, 101, 106]
    assert unanswered[106]["document"] == 6
    assert unanswered[106]["reason"] == "it has no image"
    assert f"{TASK}: 3 of 8 questions could not be asked and count as answered" in caplog.text


def test_no_choice_of_a_question_is_scored_if_one_cannot_be(counting: MoEHF) -> None:
    choices = [(0, "red"), (0, "blue " * 600), (1, "red"), (1, "blue")]
    scores = counting.loglikelihood([scoring_request(i, text) for i, text in choices])
    assert scores[:2] == [(float("-inf"), False)] * 2
    assert all(score > float("-inf") for score, _ in scores[2:])
    record = counting.moe_eval_records[TASK]
    assert (record.speed.n_samples, record.provenance["n_unanswered"]) == (1, 1)
    assert "the model takes 512" in record.provenance["unanswered"][0]["reason"]


def test_rounds_end_where_one_cannot_be_asked(counting: MoEHF) -> None:
    def rounds(doc: dict[str, Any], round_idx: int | None = None, **_: object) -> Any:
        if round_idx is None:
            return messages(doc)
        return with_token(doc), round_idx == 2, None, None

    def one_round(doc: dict[str, Any], round_idx: int | None = None, **_: object) -> Any:
        return messages(doc) if round_idx is None else (None, True, None, None)

    asked = [request(0, without_image), request(1, rounds), request(2, one_round)]
    empty, partial, answered = counting.generate_until_multi_round(asked)
    assert (empty, partial) == ([""], [""])
    assert answered != [""]
    record = counting.moe_eval_records[TASK]
    assert (record.speed.n_samples, record.provenance["n_unanswered"]) == (1, 2)


def test_a_task_of_which_nothing_can_be_asked(
    counting: MoEHF, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        counting.generate_until([request(i, without_image) for i in range(6)])
    assert ended.value.code == 2
    assert f"None of the 6 requests of {TASK} can be put to the model." in capsys.readouterr().err


def test_a_task_of_which_nothing_was_answered(
    counting: MoEHF, capsys: pytest.CaptureFixture[str]
) -> None:
    def rounds(doc: dict[str, Any], round_idx: int | None = None, **_: object) -> Any:
        return messages(doc) if round_idx is None else (with_token(doc), False, None, None)

    with pytest.raises(SystemExit) as ended:
        counting.generate_until_multi_round([request(0, rounds)])
    assert ended.value.code == 2
    assert f"No question of {TASK} could be answered. First, question 100: its text" in (
        capsys.readouterr().err
    )
