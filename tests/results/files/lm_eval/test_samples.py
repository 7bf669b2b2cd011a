"""Lines of lm-eval's samples files become one sample for each question."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files import read_run, read_samples
from moe_eval_plugin.results.run import Sample, TaskMetric, TaskRun
from moe_eval_plugin.results.samples import read_task
from tests.results.lm_eval_files import RESULTS_FILE

if TYPE_CHECKING:
    from pathlib import Path

TWO = ("strict", "flexible")


@pytest.fixture
def results_file(repository_root: Path) -> Path:
    return repository_root / RESULTS_FILE


def samples(path: Path, *lines: dict[str, Any], **more: Any) -> list[Sample]:
    """Read lines as a samples file."""
    file = path / "samples.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return list(read_samples(TaskRun("sums", (), None, None, file, host="lm-eval", **more)))


def requests(*pairs: tuple[object, ...]) -> dict[str, dict[str, object]]:
    return {
        f"gen_args_{n}": {f"arg_{m}": value for m, value in enumerate(pair)}
        for n, pair in enumerate(pairs)
    }


def choices(pairs: list[tuple[str, str]], values: list[float], **more: Any) -> dict[str, Any]:
    answers = [[str(value), "False"] for value in values]
    return {"doc_id": 0, "arguments": requests(*pairs), "filtered_resps": answers, **more}


def test_a_choice_is_the_most_likely_text(results_file: Path) -> None:
    run = read_run(results_file)
    first, *_, last = read_samples(run.task("sums"))

    assert (first.question_id, first.doc_id, first.image) == ("sum-0", 0, "0")
    assert (first.answers, first.target) == (("5",), "5")
    assert first.prompt == "Question: 2 plus 3?\nAnswer:"
    assert first.scores == {"acc": 1.0, "acc_norm": 0.0}
    assert (first.n_output_tokens, first.failure) == (None, None)
    assert (last.answers, last.target, last.scores["acc"]) == (("11",), "10", 0.0)


def test_a_question_with_several_filters_is_one_sample(results_file: Path) -> None:
    run = read_run(results_file)
    answered = read_task(run, run.task("numbers"))

    assert (answered.key_name, list(answered.questions)) == ("doc_id", ["0", "1", "2"])
    assert answered.main_metric == "exact_match,strict-match"
    first = answered.questions["0"]
    assert first.scores == {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    assert (first.answer, first.prompt) == ("[invalid]", "3+4= 7\n\n1+2=")


def test_the_answer_is_that_of_the_main_score(tmp_path: Path) -> None:
    lines = [
        {"doc_id": 0, "filter": name, "filtered_resps": [name], "arguments": requests(("?", {}))}
        for name in TWO
    ]
    (sample,) = samples(tmp_path, *lines, filters=TWO, main_metric="exact_match,flexible")
    assert sample.answers == ("flexible",)


def test_questions_without_a_line_for_each_filter_were_cut_off(tmp_path: Path) -> None:
    lines = [{"doc_id": n, "filter": name} for name in TWO for n in range(2)]
    assert len(samples(tmp_path, *lines, filters=TWO)) == 2
    with pytest.raises(DataError, match="no line of question 1 for the filter flexible"):
        samples(tmp_path, *lines[:-1], filters=TWO)


def test_a_question_that_is_there_twice_stays_apart(tmp_path: Path) -> None:
    lines = [{"doc_id": 0, "filter": name} for name in TWO] * 2
    assert [one.doc_id for one in samples(tmp_path, *lines, filters=TWO)] == [0, 0]


def test_perplexities_are_those_of_one_question(results_file: Path) -> None:
    run = read_run(results_file)
    first, _ = read_samples(run.task("prose"))
    words, spread = read_samples(run.task("last_word")), 55.41558837890625

    assert first.scores == {
        "word_perplexity": pytest.approx(math.exp(spread / 3)),
        "bits_per_byte": pytest.approx(spread / 12 / math.log(2)),
    }
    assert (first.answers, first.prompt, first.target) == (None, "The cat sat.", "The cat sat.")
    known = [one.scores["perplexity"] for one in words]
    row = run.task("last_word").score("perplexity")
    assert row is not None
    assert row.value == pytest.approx(math.prod(known) ** (1 / 3))


@pytest.mark.parametrize("value", [[-1e9, 1], [-1.0, 0], [1], "x", None, [None, 2], math.nan])
def test_what_has_no_finite_value_is_no_score(tmp_path: Path, value: object) -> None:
    line = {
        "doc_id": 0,
        "metrics": ["word_perplexity", "acc"],
        "word_perplexity": value,
        "acc": True,
    }
    (sample,) = samples(tmp_path, line)
    assert sample.scores == {"acc": 1.0}


def test_pairs_of_other_metrics_are_no_scores_of_a_question(tmp_path: Path) -> None:
    line = {"doc_id": 0, "metrics": ["f1", "own"], "f1": [0, 1], "own": 3}
    (sample,) = samples(tmp_path, line, metrics=(TaskMetric("own", "mean"),))
    assert sample.scores == {"own": 3.0}


def test_contexts_that_differ_are_the_choices(tmp_path: Path) -> None:
    pairs = [(f"Ann met Joan, so {name}", " left.") for name in ("Joan", "Joe")]
    (sample,) = samples(tmp_path, choices(pairs, [-3, -1], target=" left."))
    assert (sample.answers, sample.target) == (("Joe",), " left.")


def test_continuations_without_their_context_are_no_choices(tmp_path: Path) -> None:
    pairs = [("Q", " a"), ("Q", " b"), ("", " a"), ("", " b")]
    (sample,) = samples(tmp_path, choices(pairs, [-2, -1, 0, 0], target="1"))
    assert (sample.answers, sample.target) == (("b",), "b")


@pytest.mark.parametrize(
    ("target", "text"), [("0", "a"), ("[0, 1]", "a, b"), ("-100", "-100"), ("7", "7"), ("b", "b")]
)
def test_the_target_of_a_choice_is_its_text_where_it_is_known(
    tmp_path: Path, target: str, text: str
) -> None:
    (sample,) = samples(tmp_path, choices([("Q", " a"), ("Q", " b")], [-1, -2], target=target))
    assert sample.target == text


@pytest.mark.parametrize("answers", [None, "x", [], [["x", "True"]], [[], []], [[None], [None]], 3])
def test_a_choice_without_log_likelihoods_is_no_text(tmp_path: Path, answers: object) -> None:
    line = choices([("Q", " a"), ("Q", " b")], [])
    (sample,) = samples(tmp_path, {**line, "filtered_resps": answers})
    assert sample.answers is None


def test_every_repeated_answer_is_there(tmp_path: Path) -> None:
    line = {"doc_id": 0, "arguments": requests(("Q", {"until": []}))}
    (sample,) = samples(tmp_path, {**line, "filtered_resps": [["red", "blue"]]})
    assert (sample.answers, sample.submission) == (("red", "blue"), (None, ["red", "blue"]))


def test_ids_and_types_are_in_the_row_or_in_what_is_submitted(tmp_path: Path) -> None:
    doc = {"question_id": 4, "image_id": 9, "answer_type": "other", "question_type": ""}
    line = {"doc_id": 0, "doc": doc, "target": "red", "filtered_resps": ["red"]}
    line |= {"arguments": requests(("Q", {}))}
    (sample,) = samples(tmp_path, line)
    assert (sample.question_id, sample.image, sample.submission) == (4, "9", (4, "red"))
    assert (sample.answer_type, sample.question_type) == ("other", None)
    (sample,) = samples(tmp_path, {**line, "submission": {"question_id": 5, "answer": "blue"}})
    assert (sample.question_id, sample.submission) == (5, (5, "blue"))


def test_ids_that_a_task_returns_beside_its_scores_are_no_scores(tmp_path: Path) -> None:
    (sample,) = samples(tmp_path, {"doc_id": 0, "metrics": [[], "acc"], "acc": 1})
    assert sample.scores == {"acc": 1.0}
    own = {"question_id": 4, "image_id": 9, "exact_match": 1.0, "submission": {}}
    (sample,) = samples(tmp_path, {"doc_id": 0, "metrics": list(own), **own})
    assert (sample.question_id, sample.image, sample.scores) == (4, "9", {"exact_match": 1.0})


def test_the_question_is_the_end_of_a_prompt_with_examples(results_file: Path) -> None:
    run = read_run(results_file)
    first, *_ = read_samples(run.task("numbers"))
    assert (first.prompt, first.question) == ("3+4= 7\n\n1+2=", "1+2=")
    first, *_ = read_samples(run.task("prose"))
    assert first.question is None


def test_a_broken_line_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text('{"doc_id": 0}\n{"doc_id', encoding="utf-8")
    with pytest.raises(DataError, match="line 2, is not a sample"):
        list(read_samples(TaskRun("sums", (), None, None, file, host="lm-eval")))


@pytest.mark.parametrize(
    "line", [{}, {"arguments": [], "doc": 3, "metrics": 7, "filtered_resps": {}}]
)
def test_lines_of_another_form_are_read_without_an_error(tmp_path: Path, line: Any) -> None:
    (sample,) = samples(tmp_path, line)
    assert (sample.scores, sample.answers, sample.prompt) == ({}, None, "")
