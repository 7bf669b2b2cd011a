"""``share_contexts`` of lm-eval's ``moe_hf``: the same scores, and what the record says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.engines.transformers.shared import contexts
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from tests.hosts.lm_eval.local_tasks import N_QUESTIONS, evaluate, responses, write_tasks
from tests.hosts.lm_eval.tiny_olmoe import save_olmoe

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.engines.transformers.shared.contexts import Choices

TASKS = ["choices", "words", "texts"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    register()
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MoEHFLM:
    folder = save_olmoe(tmp_path_factory.mktemp("model"))
    return MoEHFLM(str(folder), experts_k=2, dtype="float32", device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def alone(model: MoEHFLM, tasks: Path) -> dict[str, Any]:
    return evaluate(model, TASKS, tasks)


def share(model: MoEHFLM, how: str) -> None:
    model.share_contexts = how
    model.start_measuring()


@pytest.fixture
def shared(model: MoEHFLM, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    computed: list[int] = []
    score = contexts.score_choices

    def counted(model: Any, batch: list[Choices], *more: Any) -> Any:
        computed.append(len(batch))
        return score(model, batch, *more)

    monkeypatch.setattr("moe_eval_plugin.model_adapters.lm_eval_hf_contexts.score_choices", counted)
    share(model, "auto")
    results = evaluate(model, TASKS, tasks)
    return {**results, "computed": computed}


def test_scores_are_those_of_continuations_alone(
    alone: dict[str, Any], shared: dict[str, Any]
) -> None:
    questions = {sample["doc"]["question"] for sample in shared["samples"]["choices"]}
    assert sum(shared["computed"]) == len(questions)
    for task in TASKS:
        for mine, others in zip(responses(shared, task), responses(alone, task), strict=True):
            # A score is a log-probability and whether it is greedy; of a text, its number alone.
            assert str(mine).count("True") == str(others).count("True")
            assert _numbers(mine) == pytest.approx(_numbers(others), abs=1e-4)


def test_the_record_says_what_was_shared_and_the_rate_is_not_that_of_requests_alone(
    alone: dict[str, Any], shared: dict[str, Any]
) -> None:
    records = shared["moe_eval"]

    assert records["choices"]["provenance"]["shared_contexts"] == {"shared": True, "reason": None}
    assert (
        "differ before their last token"
        in (records["words"]["provenance"]["shared_contexts"]["reason"])
    )
    assert records["choices"]["speed"]["is_shared"]
    assert not records["words"]["speed"].get("is_shared")
    assert alone["moe_eval"]["choices"]["provenance"]["shared_contexts"] == {
        "shared": False,
        "reason": "share_contexts=no",
    }
    of_both = [one["moe_eval"]["choices"]["speed"] for one in (alone, shared)]
    assert len({speed["n_input_tokens"] for speed in of_both}) == 1
    assert [speed["n_samples"] for speed in of_both] == [N_QUESTIONS["choices"]] * 2


def test_a_task_without_shared_contexts_is_refused_where_they_are_required(
    model: MoEHFLM, tasks: Path
) -> None:
    share(model, "yes")

    with pytest.raises((InvalidArgumentError, SystemExit), match=r"share_contexts=yes|2"):
        evaluate(model, ["words"], tasks)


def _numbers(found: Any) -> list[float]:
    if isinstance(found, list | tuple):
        return [number for one in found for number in _numbers(one)]
    return [] if isinstance(found, bool) else [float(found)]
