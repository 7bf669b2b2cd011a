"""What stands in the host's results beside its scores: rows of ours, and never one of the host's.

The host's own ``evaluate`` runs a small task of questions in memory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from lmms_eval import evaluator
from lmms_eval.api.model import lmms

from moe_eval_plugin.hosts.lmms_eval.result_rows import _score_of, add_rows_to_results
from moe_eval_plugin.hosts.result_rows import add_rows
from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.results.record import Metric
from moe_eval_plugin.text import GIB
from tests.results.sample_records import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmms_eval.api.instance import Instance

MEAN = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
SUBMISSION = {"metric": "submission", "aggregation": "a_function", "higher_is_better": True}
Results = dict[str, Any]


def host_results(score: object = 0.5, *metrics: dict[str, Any]) -> Results:
    """Make results as the host does, of one task."""
    return {
        "results": {"a": {"alias": "a", "exact_match,none": score, "exact_match_stderr,none": 0.1}},
        "configs": {"a": {"task": "a", "metric_list": list(metrics or [MEAN]), "metadata": None}},
        "higher_is_better": {"a": {"exact_match": True}},
    }


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Results | None]:
    """Return the host's function with our rows, around one that asks 4 questions of 2 tasks.

    It ends as a function of the host does: with nothing where it is told so.
    """

    def asks(lm: Any, task_dict: object = None, results: object = None) -> object:
        assert task_dict == "tasks"
        if hasattr(lm, "generate_until"):
            asked = [_request(task, number) for number, task in enumerate("abab")]
            assert lm.generate_until(asked) == [f"{one.task_name} {one.doc_id}" for one in asked]
        return results

    monkeypatch.setattr(evaluator, "evaluate", asks)
    add_rows_to_results()
    wrapped: Callable[..., Results | None] = evaluator.evaluate
    return wrapped


def _request(task: str, doc_id: int) -> Instance:
    from lmms_eval.api.instance import Instance

    metadata = {"task": task, "doc_id": doc_id, "repeats": 1}
    return Instance("generate_until", ("",), 0, metadata)


class Foreign(lmms):
    """A model that is not ours."""

    def __init__(self) -> None:
        super().__init__()

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer with the task and the number."""
        return [f"{one.task_name} {one.doc_id}" for one in requests]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not used."""
        raise NotImplementedError

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not used."""
        raise NotImplementedError


class Ours:
    """A model that brings its records."""

    moe_eval_records: Any = None

    def take_options(self, of_the_host: dict[str, Any]) -> dict[str, Any]:
        return of_the_host


def ours(**changes: Any) -> Any:
    lm = Ours()
    known = {"hardware": HardwareUse(PeakMemory(None, None, 2 * GIB)), **changes}
    lm.moe_eval_records = {"a": record("a", **known)}
    return lm


def rows_of(results: Results, task: str = "a") -> dict[str, Any]:
    rows: dict[str, Any] = results["results"][task]
    return rows


def test_rows_of_our_model_stand_beside_the_scores(evaluate: Callable[..., Any]) -> None:
    results = evaluate(ours(), "tasks", results=host_results(0.5))
    assert rows_of(results) == {
        "alias": "a",
        "exact_match,none": 0.5,
        "exact_match_stderr,none": 0.1,
        "baseline_num_experts_per_tok,none": 8,
        "num_experts_per_tok,none": 2,
        "observed_num_experts_per_tok,none": 2,
        "samples_per_s,none": 0.5,
        "output_tokens_per_s,none": 1.5,
        "prefill_tokens_per_s,none": 40,
        "ttft_s_median,none": 1.5,
        "e2e_latency_s_median,none": 2.5,
        "n_output_tokens_per_sample,none": 3,
        "seconds_per_correct_answer,none": 4 / (0.5 * 2),
        "peak_memory_gib,none": 2,
    }
    stored = json.loads(json.dumps(results["moe_eval"]))
    assert stored["a"]["score"] == {"metric": "exact_match", "value": 0.5}
    assert stored["a"]["hardware"]["joules"] is None


def test_each_row_says_whether_higher_is_better_and_only_rows_that_are_there(
    evaluate: Callable[..., Any],
) -> None:
    extra = (Metric("a", "watts", 3.0, higher_is_better=False), Metric("a", "colour", 3.0))
    results = evaluate(lm=ours(extra=extra), task_dict="tasks", results=host_results())
    assert results["higher_is_better"]["a"] == {
        "exact_match": True,
        "samples_per_s": True,
        "output_tokens_per_s": True,
        "prefill_tokens_per_s": True,
        "ttft_s_median": False,
        "e2e_latency_s_median": False,
        "seconds_per_correct_answer": False,
        "peak_memory_gib": False,
        "watts": False,
    }
    assert (rows_of(results)["watts,none"], rows_of(results)["colour,none"]) == (3, 3)


def test_a_foreign_model_gets_samples_per_second_of_each_task_and_no_more(
    evaluate: Callable[..., Any],
) -> None:
    host = host_results(0.5)
    for part in ("results", "configs", "higher_is_better"):
        host[part]["b"] = dict(host[part]["a"])
    lm = Foreign()
    results = evaluate(lm, "tasks", results=host)
    for task in "ab":
        rows = dict(rows_of(results, task))
        assert rows.pop("samples_per_s,none") > 0
        assert rows.pop("seconds_per_correct_answer,none") > 0
        assert rows == rows_of(host_results(0.5))
        assert results["moe_eval"][task]["experts"] is None
        assert results["moe_eval"][task]["speed"]["n_samples"] == 2
        assert results["moe_eval"][task]["speed"]["n_output_tokens"] is None
        assert results["higher_is_better"][task] == {
            "exact_match": True,
            "samples_per_s": True,
            "seconds_per_correct_answer": False,
        }
    assert not vars(lm).keys() & {"generate_until", "loglikelihood"}


def test_results_of_an_object_that_answers_nothing_stay_as_they_are(
    evaluate: Callable[..., Any],
) -> None:
    assert evaluate(lm=object(), task_dict="tasks", results=host_results()) == host_results()


@pytest.mark.parametrize("lm", [Foreign(), ours()])
def test_a_process_without_results_stays_without(evaluate: Callable[..., Any], lm: object) -> None:
    assert evaluate(lm, "tasks", results=None) is None


def test_the_host_is_wrapped_once(evaluate: Callable[..., Any]) -> None:
    add_rows_to_results()
    assert evaluator.evaluate is evaluate


def test_an_error_of_the_host_is_passed_on_and_the_model_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(lm: object) -> None:  # noqa: ARG001
        message = "the data are gone"
        raise OSError(message)

    lm = Foreign()
    monkeypatch.setattr(evaluator, "evaluate", fails)
    add_rows_to_results()
    with pytest.raises(OSError, match="the data are gone"):
        evaluator.evaluate(lm)
    assert "generate_until" not in vars(lm)


def test_a_row_of_the_host_is_never_replaced() -> None:
    host = host_results(0.5)
    host["results"]["a"]["samples_per_s,none"] = 99
    host["higher_is_better"]["a"]["samples_per_s"] = None
    extra = (Metric("a", "exact_match", 1.0, higher_is_better=False),)
    add_rows(host, {"a": record("a", extra=extra)}, _score_of)
    assert rows_of(host)["exact_match,none"] == 0.5
    assert rows_of(host)["samples_per_s,none"] == 99
    assert host["higher_is_better"]["a"]["exact_match"] is True
    assert host["higher_is_better"]["a"]["samples_per_s"] is None
    assert host["moe_eval"]["a"]["extra"] == {"exact_match": 1.0}


def test_a_task_of_which_the_host_shows_nothing_costs_no_results() -> None:
    host = host_results()
    add_rows(host, {"hidden": record("hidden"), "a": record("a")}, _score_of)
    assert set(host["moe_eval"]) == {"a"}
    assert set(host["results"]) == {"a"}


def test_an_unknown_value_has_no_row_and_is_never_zero() -> None:
    host = host_results("N/A")
    add_rows(host, {"a": record("a", experts=None)}, _score_of)
    added = {name: value for name, value in rows_of(host).items() if "exact" not in name}
    assert None not in added.values()
    assert 0 not in added.values()
    names = {name.removesuffix(",none") for name in added}
    assert not names & {"seconds_per_correct_answer", "peak_memory_gib", "joules_per_sample"}
    assert not {name for name in names if "experts" in name}


def test_the_score_is_the_first_mean_between_0_and_1() -> None:
    score = _score_of(host_results(0.75, SUBMISSION, MEAN), "a")
    assert score is not None
    assert (score.metric, score.value) == ("exact_match", 0.75)


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0])
def test_none_and_all_correct_are_scores(value: float) -> None:
    score = _score_of(host_results(value), "a")
    assert score is not None
    assert score.value == value


@pytest.mark.parametrize(
    "host",
    [
        host_results(75.0),
        host_results(-0.1),
        host_results("N/A"),
        host_results(None),
        host_results(float("nan")),
        host_results(0.5, {**MEAN, "aggregation": "sum"}),
        host_results(0.5, {**MEAN, "higher_is_better": False}),
        host_results(0.5, {"metric": "exact_match"}),
        host_results(0.5, {**MEAN, "metric": "another"}),
    ],
)
def test_other_scores_count_no_correct_answers(host: Results) -> None:
    assert _score_of(host, "a") is None
    add_rows(host, {"a": record("a")}, _score_of)
    assert "seconds_per_correct_answer,none" not in rows_of(host)


@pytest.mark.parametrize("configs", [{}, {"a": {}}, {"a": {"metric_list": None}}])
def test_a_task_without_metrics_has_no_score(configs: Results) -> None:
    assert _score_of({**host_results(), "configs": configs}, "a") is None


@pytest.mark.parametrize(
    ("errors", "expected"),
    [((0.3, 0.4), 0.25), ((0.3, "N/A"), "N/A"), ((0.0, 0.0), 0.0)],
)
def test_the_error_of_a_group_of_equal_tasks_does_not_weight_them(
    evaluate: Callable[..., Results | None], errors: tuple[object, ...], expected: object
) -> None:
    rows = {
        task: {"score,none": 0.5, "score_stderr,none": error}
        for task, error in zip("ab", errors, strict=True)
    }
    groups = {"moe_vqa": {"score,none": 0.5, "score_stderr,none": 9.0}}
    theirs = {"theirs": {"score,none": 0.5, "score_stderr,none": 9.0}}
    results: Results = {
        "results": {**rows, **groups, **theirs},
        "groups": {"moe_vqa": dict(groups["moe_vqa"])},
        "group_subtasks": {"moe_vqa": ["a", "b"], "theirs": ["a", "b"], "a": []},
        "configs": {"a": {}, "b": {}},
        "higher_is_better": {},
    }
    assert evaluate(object(), "tasks", results) is results
    for part in ("results", "groups"):
        assert results[part]["moe_vqa"]["score_stderr,none"] == pytest.approx(expected)
    assert results["results"]["theirs"]["score_stderr,none"] == 9.0
