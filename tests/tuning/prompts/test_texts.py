"""Calibration prompts of lm-eval's texts on a tiny OLMoE: chosen, built by the host, and right."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

from moe_eval_plugin.engines.generation import truncate_before
from moe_eval_plugin.errors import InvalidArgumentError, NotAnMoEError, UserError
from moe_eval_plugin.hosts.harness import LM_EVAL
from moe_eval_plugin.prompts.loading import load_tasks, read_model
from moe_eval_plugin.prompts.progress import NoProgress
from moe_eval_plugin.testing import tiny_config
from moe_eval_plugin.tuning.calibration_prompts import calibration_prompts
from moe_eval_plugin.tuning.prompts.drawing import draw
from moe_eval_plugin.tuning.prompts.request import CalibrationRequest
from tests.hosts.lm_eval.local_tasks import TASKS, evaluate, responses, write_tasks
from tests.hosts.lm_eval.tiny_olmoe import PUBLISHED_K, save_olmoe
from tests.tuning.prompts.stepwise import assert_same_logits, single_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts

NAMES = ("choices", "sums", "texts", "plain")
# Questions of each task in the fixture.
SHARES = (3, 2, 2, 2)
N_TRAINING = 5


class Calibration(NamedTuple):
    """A calibration whose model is loaded."""

    request: CalibrationRequest
    model: CalibrationModel
    prompts: CalibrationPrompts


@pytest.fixture(scope="module", autouse=True)
def own_tasks_alone() -> Iterator[None]:
    """Leave out the index of lm-eval's own tasks, which takes seconds each time."""
    with patch("lm_eval.tasks.TaskManager", partial(TaskManager, include_defaults=False)):
        yield


def with_training_data(folder: Path) -> Path:
    """Write local tasks: ``choices`` has data for training, ``plain`` sums without examples."""
    rows = [
        {"question": f"Which is {n}?", "choices": [f"{n}", "none of the two", "x"], "answer": 0}
        for n in range(N_TRAINING)
    ]
    training = folder / "training.jsonl"
    training.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    files = {"train": str(training), "test": str(folder / "choices.jsonl")}
    changes = {"dataset_kwargs": {"data_files": files}, "training_split": "train"}
    plain = {**TASKS["sums"], "num_fewshot": 0}
    tasks = {**TASKS, "choices": {**TASKS["choices"], **changes}, "plain": plain}
    return write_tasks(folder, tasks)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calibration]:
    model = save_olmoe(tmp_path_factory.mktemp("olmoe"))
    tasks = with_training_data(tmp_path_factory.mktemp("tasks"))
    request = CalibrationRequest(
        str(model),
        NAMES,
        LM_EVAL,
        include_path=str(tasks),
        device="cpu",
        batch_size=4,
        n_questions=9,
        answer_tokens=6,
    )
    with calibration_prompts(request) as (loaded, prompts):
        yield Calibration(request, loaded, prompts)


def test_questions_are_from_the_training_split_where_a_task_has_one(
    calibration: Calibration,
) -> None:
    found = calibration.prompts.questions
    facts = [(one.task, one.host, one.split, one.is_evaluated) for one in found]
    assert facts == [
        ("choices", LM_EVAL, "train", False),
        ("sums", LM_EVAL, "test", True),
        ("texts", LM_EVAL, "test", True),
        ("plain", LM_EVAL, "test", True),
    ]
    assert tuple(len(one.doc_ids) for one in found) == SHARES
    assert all(a < b for one in found for a, b in pairwise(one.doc_ids))
    assert calibration.prompts.n_questions == 9


def test_a_single_pass_predicts_as_generation_does_with_unequal_lengths(
    calibration: Calibration,
) -> None:
    paddings = []
    for batch in calibration.prompts.batches:
        assert_same_logits(calibration.model.module, batch)
        assert batch.inputs["input_ids"].shape[1] == batch.n_prompt + batch.answer_ids.shape[1] - 1
        mask = batch.inputs["attention_mask"]
        paddings += [(int(row[0]) == 0, int(row[-1]) == 0) for row in mask]
        # As `generate` counts them: padding has no position.
        positions = batch.inputs["position_ids"]
        assert positions.equal((mask.cumsum(-1) - 1) * mask)
        is_put = (batch.answer_ids[:, 1:] >= 0).long()
        assert mask[:, batch.n_prompt :].equal(is_put)
    assert {left for left, _ in paddings} == {right for _, right in paddings} == {True, False}


def test_batches_change_no_logits(calibration: Calibration) -> None:
    together = _by_row(calibration.model, calibration.prompts)
    with calibration_prompts(replace(calibration.request, batch_size=1)) as (model, prompts):
        alone = _by_row(model, prompts)
    assert together.keys() == alone.keys()
    for row, logits in together.items():
        torch.testing.assert_close(logits, alone[row], atol=2e-5, rtol=2e-4)


def _by_row(model: CalibrationModel, prompts: CalibrationPrompts) -> dict[Any, torch.Tensor]:
    found = {}
    for batch in prompts.batches:
        logits = single_pass(model.module, batch)
        for row in range(batch.n_rows):
            answer = batch.answer_ids[row]
            kept = batch.inputs["attention_mask"][row, : batch.n_prompt] == 1
            prompt = batch.inputs["input_ids"][row, : batch.n_prompt][kept]
            key = (tuple(prompt.tolist()), tuple(answer[answer >= 0].tolist()))
            found[key] = logits[row, : len(key[1])]
    return found


def test_a_question_with_choices_counts_once(calibration: Calibration) -> None:
    prompts = calibration.prompts
    rows = [number for batch in prompts.batches for number in batch.questions]
    assert [rows.count(number) for number in range(5)] == [3, 3, 3, 1, 1]
    means = prompts.by_question([float(number) for number in rows])
    assert means.tolist() == list(range(9))
    alone = prompts.by_question([float(n == rows.index(0)) for n in range(len(rows))])
    assert alone.tolist() == pytest.approx([1 / 3, *[0] * 8])


def test_prompts_and_answers_are_those_of_the_host(calibration: Calibration) -> None:
    request, questions = calibration.request, calibration.prompts.questions
    tokenizer = AutoTokenizer.from_pretrained(request.pretrained)
    numbers = _numbers(calibration)
    asked, answered = defaultdict(list), {}
    for batch in calibration.prompts.batches:
        for row, number in enumerate(batch.questions):
            kept = batch.inputs["attention_mask"][row, : batch.n_prompt] == 1
            prompt = tokenizer.decode(batch.inputs["input_ids"][row, : batch.n_prompt][kept])
            answer = [token for token in batch.answer_ids[row].tolist() if token >= 0]
            task, doc_id = numbers[number]
            asked[task].append((prompt, tokenizer.decode(answer)))
            answered[task, doc_id] = answer
    assert sorted(asked["choices"]) == sorted(
        (f"Question: Which is {n}?\nAnswer:", f" {choice}")
        for n in questions[0].doc_ids
        for choice in (n, "none of the two", "x")
    )
    assert {prompt.count("=") for prompt, _ in asked["sums"]} == {3}  # two examples
    # The model's answers are those that it is scored for, as far as they go.
    results = evaluate(
        "moe_hf", ["plain"], request.include_path, model_args={"pretrained": request.pretrained}
    )
    theirs, until = responses(results, "plain"), TASKS["sums"]["generation_kwargs"]["until"]
    n_tokens = []
    for doc_id in questions[3].doc_ids:
        answer = answered["plain", doc_id]
        text = truncate_before(tokenizer.decode(answer, skip_special_tokens=True), until)
        assert theirs[doc_id][0][0].startswith(text)
        n_tokens.append(len(answer))
    assert max(n_tokens) == request.answer_tokens


def _numbers(calibration: Calibration) -> list[tuple[str, int]]:
    """List the task and the number in its split of each question."""
    return [(one.task, n) for one in calibration.prompts.questions for n in one.doc_ids]


def test_the_published_k_is_in_force_and_restored(calibration: Calibration) -> None:
    at_k = calibration.model.at_k
    assert at_k.request.resolved is None
    assert calibration.model.config.description.num_experts_per_tok == PUBLISHED_K
    assert {layer.mlp.gate.top_k for layer in calibration.model.module.model.layers} == {
        PUBLISHED_K
    }


def test_the_same_seed_draws_the_same_questions(calibration: Calibration) -> None:
    request = calibration.request
    source = read_model(request, request.checked_harness(), NoProgress(), "experts")
    tasks = load_tasks(source, NoProgress())
    drawn = draw(request, tasks)
    assert draw(request, tasks) == drawn
    for one in drawn:
        assert sorted(one.positions) == list(range(len(one.positions)))
    first = [sorted(one.positions[: one.n_wanted]) for one in drawn]
    assert first == [list(one.doc_ids) for one in calibration.prompts.questions]
    assert any(draw(replace(request, seed=seed), tasks) != drawn for seed in (1, 2))
    evaluated = draw(replace(request, split="test", limit=3), tasks)
    assert all(one.is_evaluated and one.split == "test" for one in evaluated)
    assert [sorted(one.positions) for one in evaluated] == [[0, 1, 2]] * len(NAMES)
    # Whatever was asked, the tasks evaluate what they did before.
    assert tasks.n_questions(None) == {"choices": 8, "sums": 6, "texts": 3, "plain": 6}


def test_what_is_not_possible_is_refused_before_weights_are_read(
    calibration: Calibration, tmp_path: Path
) -> None:
    request = calibration.request
    tiny_config("llama").save_pretrained(tmp_path)  # without any weights
    for changes, error, said in (
        ({"split": "trian"}, InvalidArgumentError, "have no split trian. Did you mean train"),
        ({"n_questions": 3}, InvalidArgumentError, "3 calibration questions cannot be shared by 4"),
        ({"n_questions": 24}, InvalidArgumentError, "6 calibration questions of choices are too"),
        ({"tasks": ("no_such_task",)}, InvalidArgumentError, "no_such_task"),
        ({"pretrained": str(tmp_path)}, NotAnMoEError, "has no k that could be lowered"),
        ({"model_args": "experts_k=2"}, InvalidArgumentError, "tuning itself decides"),
    ):
        with pytest.raises(error, match=said), calibration_prompts(replace(request, **changes)):
            pytest.fail("it was not refused")
    with pytest.raises(InvalidArgumentError, match="exclude each other"):
        replace(request, data_free=True)
    with pytest.raises(InvalidArgumentError, match="No tasks are named"):
        replace(request, tasks=())
    assert issubclass(InvalidArgumentError, UserError)


def test_random_tokens_need_no_task(calibration: Calibration) -> None:
    request = replace(
        calibration.request, tasks=(), include_path=None, data_free=True, n_random_tokens=9
    )
    with calibration_prompts(request) as (model, prompts):
        assert prompts.questions == ()
        assert (prompts.n_prompts, prompts.n_questions) == (9, 9)
        tokenizer = AutoTokenizer.from_pretrained(request.pretrained)
        rows = []
        for batch in prompts.batches:
            assert batch.n_prompt == 1
            assert batch.answer_ids.shape[1] == 8
            assert_same_logits(model.module, batch)
            whole = torch.cat([batch.inputs["input_ids"], batch.answer_ids[:, -1:]], dim=1)
            assert whole[:, 1:].equal(batch.answer_ids)
            rows += whole.tolist()
    assert not set(tokenizer.all_special_ids) & {token for row in rows for token in row}
    with calibration_prompts(request) as (_, again):
        assert again.batches[0].answer_ids.equal(prompts.batches[0].answer_ids)
