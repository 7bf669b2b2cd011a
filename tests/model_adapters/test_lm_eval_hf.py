"""``moe_hf`` of lm-eval: scores of the host's own class on a model rebuilt at k, and records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from tests.hosts.lm_eval.local_tasks import (
    N_QUESTIONS,
    TASKS,
    evaluate,
    responses,
    write_tasks,
)
from tests.hosts.lm_eval.tiny_olmoe import PUBLISHED_K, save_olmoe

if TYPE_CHECKING:
    from pathlib import Path

K = 2
FLOAT32 = {"dtype": "float32"}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    register()
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_olmoe(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def expected(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of the host's own ``hf`` on a model that was rebuilt and saved at k."""
    rebuilt = save_olmoe(tmp_path_factory.mktemp("rebuilt"), K)
    return evaluate("hf", [*TASKS], tasks, model_args={"pretrained": str(rebuilt), **FLOAT32})


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> MoEHFLM:
    return MoEHFLM(str(checkpoint), experts_k=K, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def found(model: MoEHFLM, tasks: Path) -> dict[str, Any]:
    return evaluate(model, [*TASKS], tasks)


@pytest.mark.parametrize("task", TASKS)
def test_every_score_is_that_of_the_host_on_a_rebuilt_model(
    task: str, found: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert responses(found, task) == responses(expected, task)
    for metric in TASKS[task]["metric_list"]:
        name = f"{metric['metric']},none"
        assert found["results"][task][name] == expected["results"][task][name]


def test_another_k_answers_otherwise(model: MoEHFLM, tasks: Path, expected: dict[str, Any]) -> None:
    model.set_experts(PUBLISHED_K)
    others = evaluate(model, [*TASKS], tasks)
    model.set_experts(K)
    for task in TASKS:
        assert responses(others, task) != responses(expected, task)


@pytest.mark.parametrize("task", TASKS)
def test_a_sample_is_a_question(task: str, found: dict[str, Any]) -> None:
    record = found["moe_eval"][task]
    assert record["speed"]["n_samples"] == N_QUESTIONS[task]
    assert record["experts"]["observed"] == K
