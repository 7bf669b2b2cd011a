"""The embedded model gives the same answers in both hosts: same prompts, images and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.model_adapters.lm_eval_hf_multimodal import MoEHFMultimodalLM
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from moe_eval_plugin.tasks import tasks_path

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK, N_QUESTIONS = "easy_vqa", 60
# An answer may depend on the batch where two tokens are all but as likely: rare in float32.
MODEL = {"pretrained": "demo", "device": "cpu", "dtype": "float32", "batch_size": 12}
RUN = {"tasks": [TASK], "limit": N_QUESTIONS, "bootstrap_iters": 0, "log_samples": True}

pytestmark = [
    # The hosts and what they import use things that are about to change in Python and in libraries.
    pytest.mark.filterwarnings("default"),
]


def in_lmms_eval(k: int) -> Any:
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    tasks = TaskManager(include_path=str(tasks_path()), include_defaults=False)
    # The host itself cleans the model in the end.
    return simple_evaluate(model=MoEHF(experts_k=k, **MODEL), task_manager=tasks, **RUN)


def in_lm_eval(k: int) -> Any:
    register()
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    tasks = TaskManager(include_path=str(tasks_path("lm-eval")), include_defaults=False)
    model = MoEHFMultimodalLM(experts_k=k, **MODEL)
    try:
        return simple_evaluate(model=model, task_manager=tasks, apply_chat_template=True, **RUN)
    finally:
        model.close()


def answers(results: Mapping[str, Any]) -> dict[int, str]:
    """Return the answer to each question, by its id."""
    given = {one["question_id"]: one["filtered_resps"] for one in results["samples"][TASK]}
    return {one: text if isinstance(text, str) else text[0] for one, text in given.items()}


@pytest.mark.parametrize(("k", "accuracy"), [(8, 1.0), (2, 0.75)])
def test_answers_are_those_of_the_other_host(k: int, accuracy: float) -> None:
    first, second = in_lmms_eval(k), in_lm_eval(k)
    assert len(answers(first)) == N_QUESTIONS
    assert answers(second) == answers(first)
    rows, others = (found["results"][TASK] for found in (first, second))
    for name in ("exact_match", "observed_num_experts_per_tok", "n_output_tokens_per_sample"):
        assert rows[f"{name},none"] == others[f"{name},none"]
    assert others["exact_match,none"] == pytest.approx(accuracy, abs=0.03)
    assert others["observed_num_experts_per_tok,none"] == k
