"""Calibration prompts with images on the demo model, in both hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL
from moe_eval_plugin.testing import tiny_config
from moe_eval_plugin.tuning.calibration_prompts import calibration_prompts
from moe_eval_plugin.tuning.prompts.batches import prompt_batch
from moe_eval_plugin.tuning.prompts.lmms_eval_model import CalibrationMoEHF
from moe_eval_plugin.tuning.prompts.request import CalibrationRequest
from moe_eval_plugin.vqa.dataset import load_easy_vqa
from tests.hosts.lmms_eval.easy_requests import SPLIT, TASK, questions, scoring_request
from tests.tuning.prompts.stepwise import assert_same_logits, single_pass
from tests.vqa.vqa_files import write_official

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts

N_QUESTIONS = 6
INSTRUCTION = "Answer the question using a single word or phrase."

pytestmark = [
    # The host and what it imports use things that are about to change in Python and in libraries.
    pytest.mark.filterwarnings("default"),
]


class Calibration(NamedTuple):
    """A calibration whose model is loaded."""

    model: CalibrationModel
    prompts: CalibrationPrompts


def request_of(host: str, **changes: object) -> CalibrationRequest:
    given = {
        "pretrained": "demo",
        "tasks": ("easy_vqa",),
        "host": host,
        "n_questions": N_QUESTIONS,
        "batch_size": 4,
        "device": "cpu",
        "model_args": "dtype=float32",
        "apply_chat_template": host == LM_EVAL,
        **changes,
    }
    return CalibrationRequest(**given)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[LMMS_EVAL, LM_EVAL])
def calibration(request: pytest.FixtureRequest) -> Iterator[Calibration]:
    with calibration_prompts(request_of(request.param)) as (model, prompts):
        yield Calibration(model, prompts)


def test_prompts_are_those_of_training_questions(calibration: Calibration) -> None:
    (found,) = calibration.prompts.questions
    assert (found.task, found.split, found.is_evaluated) == ("easy_vqa", "train", False)
    assert len(found.doc_ids) == N_QUESTIONS
    tokenizer, records = calibration.model.tokenizer, load_easy_vqa("train").records
    n_right = 0
    for batch in calibration.prompts.batches:
        assert batch.inputs["pixel_values"].device.type == "cpu"
        assert len(batch.inputs["image_grid_thw"]) == batch.n_rows
        for row, number in enumerate(batch.questions):
            record = records[found.doc_ids[number]]
            prompt = tokenizer.decode(batch.inputs["input_ids"][row, : batch.n_prompt])
            assert f"{record['question']}\n{INSTRUCTION}" in prompt
            ids = [token for token in batch.answer_ids[row].tolist() if token >= 0]
            assert ids[-1] == tokenizer.eos_token_id  # predicted too
            n_right += tokenizer.decode(ids, skip_special_tokens=True) == record["answers"][0]
    # The images belong to their questions: this model was trained on them.
    assert n_right >= N_QUESTIONS - 1


def test_a_single_pass_predicts_as_generation_does(calibration: Calibration) -> None:
    assert sum(batch.n_rows for batch in calibration.prompts.batches) == N_QUESTIONS
    for batch in calibration.prompts.batches:
        assert_same_logits(calibration.model.module, batch)
    masks = [batch.inputs["attention_mask"] for batch in calibration.prompts.batches]
    assert any(int(mask[:, 0].min()) == 0 for mask in masks)  # some lengths differ


def test_a_question_that_cannot_be_asked_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_official(tmp_path, "vqa_v2_val", image_ids=range(1, 6))
    image = tmp_path / files.image_folder
    for number in (1, 2, 3):
        (image / files.image_name.format(number)).write_bytes(b"no image")
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path))
    wanted = request_of(LMMS_EVAL, tasks=("vqa_v2_val",), n_questions=2)
    with calibration_prompts(wanted) as (_, prompts):
        (found,) = prompts.questions
        assert (found.doc_ids, found.is_evaluated) == ((3, 4), True)
        assert prompts.n_prompts == 2
    assert "It is replaced by another question" in caplog.text
    # The task has one split alone.
    assert "vqa_v2_val: calibration questions are drawn from validation, the split" in caplog.text
    for number in (4, 5):
        (image / files.image_name.format(number)).write_bytes(b"no image")
    said = "None of the 5 questions of vqa_v2_val can be put to the model"
    with pytest.raises(UserError, match=said), calibration_prompts(wanted):
        pytest.fail("it was not refused")


def test_a_task_that_scores_texts_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    tiny_config("qwen3_vl_moe").save_pretrained(tmp_path)  # without any weights
    task = {
        "task": "moe_eval_choices",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    row = {"question": "Which is 1?", "choices": ["1", "2"], "answer": 0}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n", "utf-8")
    (tmp_path / "task.yaml").write_text(json.dumps(task), "utf-8")
    wanted = request_of(
        LMMS_EVAL,
        pretrained=str(tmp_path),
        tasks=("moe_eval_choices",),
        include_path=str(tmp_path),
        n_questions=1,
    )
    said = "with moe_eval_choices: lmms-eval scores given texts"
    with pytest.raises(UserError, match=said), calibration_prompts(wanted):
        pytest.fail("it was not refused")


def test_scored_texts_are_put_behind_their_prompts() -> None:
    model = CalibrationMoEHF(None, pretrained="demo", device="cpu", dtype="float32", batch_size=1)
    model.task_dict = {TASK: {SPLIT: questions()}}
    requests = [scoring_request(0, text) for text in ("triangle", "a circle or a square")]
    inputs, answers = model.encoded_with_answers(model.prompts_of(requests), 1)
    batch = prompt_batch(model.module, inputs, answers)
    chosen = single_pass(model.module, batch).log_softmax(-1)
    of_tokens = chosen.gather(-1, batch.answer_ids.clamp_min(0)[..., None]).squeeze(-1)
    scores = (of_tokens * (batch.answer_ids >= 0)).sum(-1).tolist()
    theirs = [score for score, _ in model.loglikelihood(requests)]
    model.close()
    assert scores == pytest.approx(theirs, rel=1e-4)
    assert len(set(map(len, answers))) == 2
