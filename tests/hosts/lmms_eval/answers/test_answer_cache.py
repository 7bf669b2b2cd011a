"""What lmms-eval's cache of answers (``--use_cache``) may answer, and what is said of it.

The host's own cache, and its ``evaluate`` as this package wraps it, around a few requests.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lmms_eval.utils
import pytest
from lmms_eval import evaluator
from lmms_eval.caching.response_cache import ResponseCache
from PIL import Image

from moe_eval_plugin.hosts.lmms_eval.result_rows import add_rows_to_results
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from tests.hosts.lmms_eval.announced_runs import two_rounds
from tests.hosts.lmms_eval.easy_requests import SPLIT, TASK, questions, request, scoring_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lmms_eval.api.instance import Instance

ARGUMENTS = {"batch_size": 4, "dtype": "float32"}
GENERATE, SCORE, ROUNDS = "generate_until", "loglikelihood", "generate_until_multi_round"
SAMPLING = {"temperature": 50.0, "do_sample": True, "max_new_tokens": 4}
Results = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Iterator[MoEHF]:
    yield (model := loaded())
    model.clean()


def loaded(**changes: object) -> MoEHF:
    model = MoEHF(**{"pretrained": "demo", "experts_k": 8, **ARGUMENTS, **changes})
    model.task_dict = {TASK: {SPLIT: questions()}}
    return model


class Run:
    """Runs requests with the cache in one folder, each time as a run of the host does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.asked: list[int] = []

    def __call__(self, lm: Any, requests: Sequence[Instance], kind: str = GENERATE) -> Results:
        cache = ResponseCache.create(str(self._folder), model="moe_hf", model_args="same text")
        answer = getattr(lm, kind)

        def counted(asked: list[Instance]) -> Any:
            self.asked.append(len(asked))
            return answer(asked)

        lm.moe_eval_records = {}
        setattr(lm, kind, counted)
        try:
            results: Results = evaluator.evaluate(
                lm, requests=requests, kind=kind, response_cache=cache
            )
        finally:
            delattr(lm, kind)
        cache.finalize(success=True)
        return results


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def evaluate(
        lm: Any, requests: list[Instance], kind: str, response_cache: Any, **_: object
    ) -> Results:
        answers = response_cache.execute(lm, kind, requests)
        asked = {one.doc_id: None for one in requests}
        return {
            "answers": [getattr(one, "text", one) for one in answers],
            "samples": {TASK: [{"doc_id": doc_id} for doc_id in asked]},
            "results": {TASK: {}},
            "configs": {TASK: {}},
            "higher_is_better": {},
        }

    monkeypatch.setattr(evaluator, "evaluate", evaluate)
    # The host takes the commit of any Git folder around it for its own.
    monkeypatch.setattr(lmms_eval.utils, "get_lmms_eval_cache_version", lambda: "1")
    add_rows_to_results()
    return Run(tmp_path / "answers")


def asks(n: int, **more: Any) -> list[Instance]:
    return [request(number, **more) for number in range(n)]


def test_what_was_answered_is_not_asked_again_and_has_no_speed(model: MoEHF, run: Run) -> None:
    alone = run(model, asks(6))["answers"]
    results = run(model, asks(12))
    assert run.asked == [6, 6]
    assert results["answers"][:6] == alone
    record = results["moe_eval"][TASK]
    assert record["n_answers_from_cache"] == 6
    assert record["speed"]["n_samples"] == 6
    assert record["experts"]["observed"] == 8
    assert [one["from_cache"] for one in results["samples"][TASK]] == [True] * 6 + [False] * 6
    assert results["results"][TASK]["n_answers_from_cache,none"] == 6


def test_a_run_that_asks_nothing_claims_no_observed_k_and_no_speed(model: MoEHF, run: Run) -> None:
    first = run(model, asks(4))
    second = run(model, asks(4))
    assert run.asked == [4]
    assert second["answers"] == first["answers"]
    record, rows = second["moe_eval"][TASK], second["results"][TASK]
    assert record["experts"]["requested"] == 8
    assert record["experts"]["observed"] is None
    assert record["provenance"]["pretrained"] == "demo"
    assert record["n_answers_from_cache"] == 4
    assert rows["num_experts_per_tok,none"] == 8
    assert "observed_num_experts_per_tok,none" not in rows
    assert not [name for name in rows if name.endswith(("per_s,none", "_s_median,none"))]
    assert "n_answers_from_cache,none" not in first["results"][TASK]
    assert first["moe_eval"][TASK]["n_answers_from_cache"] == 0


def test_a_schedule_that_changed_in_its_file_is_another_one(
    model: MoEHF, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "schedule.yaml"
    file.write_text("- {k: 8}\n")
    published = loaded(experts_k=f"@{file}")
    run(published, asks(12))
    file.write_text("- {k: 1}\n")
    published.engine.set_experts(f"@{file}")
    expected = [one.text for one in published.generate_until(asks(12))]
    found = run(published, asks(12))
    assert found["answers"] == expected
    assert found["moe_eval"][TASK]["n_answers_from_cache"] == 0
    # The same experts, requested in another way.
    assert run(model, asks(12))["moe_eval"][TASK]["n_answers_from_cache"] > 0


def test_a_picture_that_was_replaced_under_its_name_is_asked_again(
    model: MoEHF, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [tmp_path / f"{number}.png" for number in range(2)]
    documents = questions(2)
    for path, one in zip(pictures, documents, strict=True):
        shutil.copy2(one["image"], path)
        one["image"] = str(path)
    monkeypatch.setattr(model, "task_dict", {TASK: {SPLIT: documents}})
    run(model, asks(2))
    with Image.open(pictures[1]) as picture:
        picture.convert("RGB").rotate(180).save(pictures[1])
    results = run(model, asks(2))
    assert run.asked == [2, 1]
    assert [one["from_cache"] for one in results["samples"][TASK]] == [True, False]


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        (GENERATE, request(0, generation=SAMPLING)),
        (ROUNDS, request(0, to_messages=two_rounds)),
    ],
)
def test_what_was_sampled_or_has_rounds_is_always_asked(
    model: MoEHF, run: Run, kind: str, one: Instance
) -> None:
    for _ in range(2):
        results = run(model, [one], kind)
        assert results["moe_eval"][TASK]["n_answers_from_cache"] == 0
    assert run.asked == [1, 1]


def test_other_settings_of_one_task_are_other_answers(model: MoEHF, run: Run) -> None:
    run(model, asks(2))
    run(model, asks(2, generation={"max_new_tokens": 4, "until": ["\n\n"], "min_new_tokens": 3}))
    assert run.asked == [2, 2]


def test_a_question_that_is_known_in_part_is_asked_as_a_whole(model: MoEHF, run: Run) -> None:
    choices = [scoring_request(0, text) for text in ("red", "blue", "yes")]
    run(model, choices[:2], SCORE)
    results = run(model, [*choices, scoring_request(1, "red")], SCORE)
    assert run.asked == [2, 4]
    assert results["moe_eval"][TASK]["speed"]["n_samples"] == 2
    assert results["moe_eval"][TASK]["n_answers_from_cache"] == 0
    again = run(model, [*choices, scoring_request(1, "red")], SCORE)
    assert run.asked == [2, 4]
    assert [tuple(one) for one in again["answers"]] == results["answers"]


def test_what_only_pads_a_process_is_not_kept_as_an_answer(model: MoEHF, run: Run) -> None:
    one = scoring_request(0, "red")
    padding = replace(one, metadata={**one.metadata, "__padding_only__": True})
    ((score, _), _) = run(model, [one, padding], SCORE)["answers"]
    ((again, _),) = run(model, [one], SCORE)["answers"]
    assert score == again != float("-inf")


def test_a_process_without_open_questions_takes_part(
    model: MoEHF, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(model, asks(2))
    monkeypatch.setattr(model, "_world_size", 2)
    monkeypatch.setattr(
        "moe_eval_plugin.hosts.lmms_eval.answers.answer_cache.gather", lambda mine: [mine, mine]
    )
    other = {"another": loaded_experts(model)}
    monkeypatch.setattr(
        model, "_gather", lambda mine: [mine, other] if mine == {} else [mine, mine]
    )
    results = run(model, asks(2))
    assert run.asked == [2, 0]
    assert results["moe_eval"][TASK]["n_answers_from_cache"] == 2


def loaded_experts(model: MoEHF) -> Any:
    return model._experts[TASK]


class Foreign:
    """A model that is not ours; it answers with the number of the question."""

    world_size = 1

    def __init__(self, answer: Callable[[Instance], str]) -> None:
        self._answer = answer

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer each request."""
        return [self._answer(one) for one in requests]


def test_the_cached_answers_of_any_model_are_counted(run: Run) -> None:
    lm = Foreign(lambda one: f"{one.task_name} {one.doc_id}")

    def evaluated(n: int) -> Results:
        del run.asked[:]
        cache = ResponseCache.create(str(run._folder), model="a", model_args="b")
        results: Results = evaluator.evaluate(
            lm, requests=asks(n), kind=GENERATE, response_cache=cache
        )
        cache.finalize(success=True)
        return results

    evaluated(3)
    record = evaluated(5)["moe_eval"][TASK]
    assert record["n_answers_from_cache"] == 3
    assert record["speed"]["n_samples"] == 2
    assert record["speed"]["seconds_per_correct_answer"] is None
