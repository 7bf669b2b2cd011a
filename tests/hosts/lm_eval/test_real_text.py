"""Real questions of MMLU, BIG-Bench Hard and GSM8K, offline, through ``moe_hf`` at a verified k."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lm_eval.tasks import TaskManager

from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from tests.hosts.lm_eval.local_tasks import evaluate, responses
from tests.hosts.lm_eval.tiny_olmoe import save_olmoe

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "wheel_tasks"
K = 2
OPTIONS = {"batch_size": 16}
# Questions that are asked here, and questions that there are.
ASKED = {
    "wheel_mmlu": 48,
    "wheel_mmlu_de": 8,
    "wheel_mmlu_hi": 8,
    "wheel_bbh": 24,
    "wheel_gsm8k": 8,
}
ALL = {
    "wheel_mmlu": 282,
    "wheel_mmlu_de": 285,
    "wheel_mmlu_hi": 285,
    "wheel_bbh": 81,
    "wheel_gsm8k": 8,
}
ROWS = {
    "wheel_mmlu": {"acc,none"},
    "wheel_mmlu_de": {"acc,none", "acc_norm,none"},
    "wheel_mmlu_hi": {"acc,none", "acc_norm,none"},
    "wheel_bbh": {"exact_match,none"},
    "wheel_gsm8k": {"exact_match,strict-match", "exact_match,flexible-extract"},
}


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], str]:
    def save_at(k: int) -> str:
        return str(save_olmoe(tmp_path_factory.mktemp(f"k{k}"), k, max_position_embeddings=2048))

    return save_at


@pytest.fixture(scope="module")
def model(save: Callable[[int], str]) -> MoEHFLM:
    register()
    return MoEHFLM(save(4), experts_k=K, dtype="float32", device="cpu", **OPTIONS)


def ask(model: Any, task: str, **options: Any) -> dict[str, Any]:
    return evaluate(model, [task], FOLDER, limit=ASKED[task], **OPTIONS, **options)


def test_the_wheel_has_as_many_questions_as_the_tasks_say() -> None:
    tasks = TaskManager(include_path=str(FOLDER), include_defaults=False).load([*ALL])["tasks"]
    assert {name: len(task.eval_docs) for name, task in tasks.items()} == ALL
    assert set(tasks["wheel_mmlu"].eval_docs["answer"]) == {0, 1, 2, 3, 4}
    assert len(set(tasks["wheel_mmlu"].eval_docs["subject"])) == 57
    assert tasks["wheel_gsm8k"].doc_to_target(tasks["wheel_gsm8k"].eval_docs[0]) == "6"


@pytest.mark.parametrize("task", ASKED)
def test_a_task_has_its_scores_and_the_k_that_was_observed(task: str, model: MoEHFLM) -> None:
    results = ask(model, task)
    rows = results["results"][task]
    assert all(0 <= rows[name] <= 1 for name in ROWS[task])
    record = results["moe_eval"][task]
    assert record["experts"]["observed"] == K
    assert record["speed"]["n_samples"] == results["n-samples"][task]["effective"] == ASKED[task]


@pytest.mark.parametrize("task", ["wheel_mmlu", "wheel_gsm8k"])
def test_real_questions_are_answered_as_by_the_host_on_a_rebuilt_model(
    task: str, model: MoEHFLM, save: Callable[[int], str]
) -> None:
    rebuilt = {"pretrained": save(K), "dtype": "float32"}
    expected = ask("hf", task, model_args=rebuilt)
    assert responses(ask(model, task), task) == responses(expected, task)
