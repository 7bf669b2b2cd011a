"""lm-eval's cache of answers: one k's never serve another, and what it served has no speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lm_eval.api.model import LM, CacheHook, CachingLM

from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.hosts.exit_codes import errors_are_raised
from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.results.run import FROM_CACHE
from tests.hosts.lm_eval.local_tasks import N_QUESTIONS, evaluate, responses, write_tasks
from tests.hosts.lm_eval.tiny_olmoe import PUBLISHED_K, save_olmoe

if TYPE_CHECKING:
    from pathlib import Path

    from lm_eval.api.instance import Instance

TASKS = ["choices", "texts"]
SPEED = "samples_per_s,none"
CACHED = "n_answers_from_cache,none"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    register()
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MoEHFLM:
    folder = save_olmoe(tmp_path_factory.mktemp("published"))
    return MoEHFLM(str(folder), experts_k=PUBLISHED_K, dtype="float32", device="cpu")


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    return {"use_cache": str(tmp_path / "answers")}


def rows(results: dict[str, Any], task: str = "texts") -> dict[str, Any]:
    found: dict[str, Any] = results["results"][task]
    return found


def test_another_k_is_asked_anew_and_the_same_k_is_served_without_speed(
    model: MoEHFLM, tasks: Path, cache: dict[str, str]
) -> None:
    first = evaluate(model, TASKS, tasks, **cache)
    model.set_experts(1)
    other = evaluate(model, TASKS, tasks, **cache)
    model.set_experts(PUBLISHED_K)
    again = evaluate(model, TASKS, tasks, **cache)
    for task in TASKS:
        for results in (first, other):
            assert rows(results, task)[SPEED] > 0
            assert CACHED not in rows(results, task)
            assert results["moe_eval"][task]["n_answers_from_cache"] == 0
            assert not any(sample[FROM_CACHE] for sample in results["samples"][task])
        assert responses(other, task) != responses(first, task)
        assert responses(again, task) == responses(first, task)
        assert SPEED not in rows(again, task)
        assert rows(again, task)[CACHED] == N_QUESTIONS[task]
        assert all(sample[FROM_CACHE] for sample in again["samples"][task])
        record = again["moe_eval"][task]
        assert record["speed"]["n_samples"] == 0
        assert record["hardware"]["peak_memory"] is None
        assert (record["experts"]["requested"], record["experts"]["observed"]) == (
            PUBLISHED_K,
            None,
        )
    assert other["moe_eval"]["texts"]["experts"]["observed"] == 1


def test_a_task_that_was_served_in_part_has_no_speed(
    model: MoEHFLM, tasks: Path, cache: dict[str, str]
) -> None:
    chosen = [1, 3]
    evaluate(model, ["choices"], tasks, samples={"choices": chosen}, **cache)
    results = evaluate(model, ["choices"], tasks, **cache)
    assert rows(results, "choices")[CACHED] == len(chosen)
    assert SPEED not in rows(results, "choices")
    assert results["moe_eval"]["choices"]["experts"]["observed"] == PUBLISHED_K
    served = [one["doc_id"] for one in results["samples"]["choices"] if one[FROM_CACHE]]
    assert served == chosen
    again = evaluate(model, ["choices"], tasks, samples={"choices": chosen}, **cache)
    assert [one[FROM_CACHE] for one in again["samples"]["choices"]] == [True, True]


def test_what_answers_depend_on_is_in_the_keys(model: MoEHFLM) -> None:
    def other(**arguments: Any) -> dict[str, Any]:
        model.model_arguments = {**before, **arguments}
        return model.answer_settings()

    before, settings = model.model_arguments, model.answer_settings()
    assert other() == settings
    assert other(add_bos_token=True) != settings
    assert other(batch_size=8) != settings
    model.model_arguments = before
    model.set_experts(2)
    assert model.answer_settings() != settings
    model.set_experts(PUBLISHED_K)
    assert model.answer_settings() == settings


def test_a_model_that_a_program_loaded_has_no_keys(
    model: MoEHFLM, tasks: Path, tmp_path: Path
) -> None:
    loaded = MoEHFLM(model.model)
    with pytest.raises(UserError, match="use_cache"), errors_are_raised():
        evaluate(loaded, ["texts"], tasks, use_cache=str(tmp_path / "answers"))


def test_a_cache_without_keys_is_refused(model: MoEHFLM, tmp_path: Path) -> None:
    unkeyed = next(one for one in CachingLM.__mro__ if one.__module__ == "lm_eval.api.model")
    with errors_are_raised(), pytest.raises(InvalidArgumentError, match="another k"):
        unkeyed(model, str(tmp_path / "answers.db"))
    model.set_cache_hook(CacheHook(None))


class Foreign(LM):
    """A model of the host that is not ours, and answers everything alike."""

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Score each continuation by its length."""
        return [(-float(len(one.args[1])), False) for one in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Score each text by its length."""
        return [-float(len(one.args[0])) for one in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Not used."""
        raise NotImplementedError


def test_a_model_that_is_not_ours_keeps_its_keys_and_has_no_speed_from_the_cache(
    tasks: Path, cache: dict[str, str]
) -> None:
    first, again = (evaluate(Foreign(), TASKS, tasks, **cache) for _ in range(2))
    assert rows(first)[SPEED] > 0
    assert rows(again)[CACHED] == N_QUESTIONS["texts"]
    assert SPEED not in rows(again)
    assert again["moe_eval"]["texts"]["experts"] is None
