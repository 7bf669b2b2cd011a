"""Two runs are compared: which questions pair, what changed, and what is said about it."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.comparing.compare import Options, compare_runs
from moe_eval_plugin.comparing.text import changes_csv, changes_json, render
from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.runs import read_run
from moe_eval_plugin.stats import paired_difference
from moe_eval_plugin.stats.resampling import Bootstrap
from tests.run_files import write_run
from tests.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.comparing.result import Comparison, TaskComparison
    from tests.run_files import Sample

QUICK = Bootstrap(n_resamples=200)
ANSWERS = ("red", "blue", "two")


def sample(number: int, answer: Any = "red", score: Any = 1.0, **others: Any) -> Sample:
    return {
        "doc_id": number,
        "question_id": number * 10,
        "image_id": number // 2,
        "target": "red",
        "filtered_resps": answer,
        "vqa_accuracy": score,
        "score": score,
        "input": f"What colour is number {number}?",
        **others,
    }


def compare(
    folder: Path, a: Sequence[Sample], b: Sequence[Sample], **options: Any
) -> TaskComparison:
    first, second = (write_run(folder / name, {"okvqa": of}) for name, of in (("a", a), ("b", b)))
    return compare_files(first, second, **options).tasks[0]


def compare_files(a: Path, b: Path, task: str | None = None, **options: Any) -> Comparison:
    return compare_runs(read_run(a), read_run(b), task, Options(**{"bootstrap": QUICK, **options}))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS)), min_size=1, max_size=9)
)
def test_equal_answers_are_counted(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[str, str]]
) -> None:
    a, b = (
        [
            sample(number, pair[side], float(pair[side] == "red"))
            for number, pair in enumerate(answers)
        ]
        for side in (0, 1)
    )

    found = compare(tmp_path_factory.mktemp("runs"), a, b)

    n_equal = sum(one == two for one, two in answers)
    assert found.equal_answers == n_equal / len(answers)
    assert found.n_questions == len(answers)
    assert len(found.changes) == len(answers) - n_equal
    scores = found.scores[0].difference
    assert scores.baseline_value == pytest.approx(
        sum(one == "red" for one, _ in answers) / len(answers)
    )
    assert scores.n_higher == sum(one != "red" == two for one, two in answers)
    assert scores.n_lower == sum(one == "red" != two for one, two in answers)


def test_white_space_around_an_answer_is_no_difference(tmp_path: Path) -> None:
    assert compare(tmp_path, [sample(1, " red\n")], [sample(1, ["red"])]).equal_answers == 1


def test_scores_are_paired_by_question_and_clustered_by_image(tmp_path: Path) -> None:
    own = [0.3, 1.0, 0.0, 0.6, 1.0, 0.9]
    base = [1.0, 1.0, 0.3, 0.6, 0.9, 0.0]
    a = [sample(number, score=score) for number, score in enumerate(base)]
    b = [sample(number, score=score) for number, score in enumerate(own)]

    found = compare(tmp_path, a, list(reversed(b)))

    expected = paired_difference(own, base, [0, 0, 1, 1, 2, 2], bootstrap=QUICK)
    (score,) = found.scores
    assert (score.metric, score.difference) == ("vqa_accuracy", expected)
    assert (found.clustered_by, score.equivalence) == ("image_id", None)


def test_without_images_each_question_stands_for_itself(tmp_path: Path) -> None:
    a = [sample(number, image_id=None) for number in range(4)]

    found = compare(tmp_path, a, a, margin=0.01)

    assert found.clustered_by is None
    assert found.scores[0].difference.n_clusters == 4
    assert found.scores[0].equivalence is not None
    assert found.scores[0].equivalence.verdict == "cannot tell"


@pytest.mark.parametrize(
    ("one", "two", "kind"),
    [
        (1.0, 0.3, "right->wrong"),
        (0.0, 0.6, "wrong->right"),
        (1.0, 0.6, "worse"),
        (0.0, 0.3, "better"),
        (0.0, 0.0, "same score"),
        (0.5, 0.4, "right->wrong"),
    ],
)
def test_changes_have_a_kind(tmp_path: Path, one: float, two: float, kind: str) -> None:
    a = [sample(1), sample(2, "red", one), sample(3, score=0.0)]
    b = [sample(1), sample(2, "blue", two), sample(3, score=0.0)]

    found = compare(tmp_path, a, b)

    (change,) = found.changes
    assert (change.question, change.answer_a, change.answer_b) == ("20", "red", "blue")
    assert (change.scores_a, change.scores_b) == ({"vqa_accuracy": one}, {"vqa_accuracy": two})
    assert (change.change, found.change_counts) == (kind, {kind: 1})
    assert (change.task, change.target) == ("okvqa", "red")
    assert change.prompt == "What colour is number 2?"


def test_a_score_of_which_less_is_better_changes_the_other_way(tmp_path: Path) -> None:
    a, b = (
        write_run(tmp_path / name, {"okvqa": [sample(1, name, score)]})
        for name, score in (("a", 0.2), ("b", 0.9))
    )
    assert compare_files(a, b).tasks[0].change_counts == {"wrong->right": 1}

    edit_json(a, lambda content: content["higher_is_better"]["okvqa"].update(vqa_accuracy=False))

    assert compare_files(a, b).tasks[0].change_counts == {"right->wrong": 1}


def test_an_equal_answer_with_another_score_is_a_change(tmp_path: Path) -> None:
    found = compare(tmp_path, [sample(1, score=1.0)], [sample(1, score=0.0)])

    assert found.equal_answers == 1
    assert found.change_counts == {"right->wrong": 1}


def test_runs_over_other_questions_are_refused(tmp_path: Path) -> None:
    a, b = [sample(number) for number in range(8)], [sample(number) for number in (6, 7, 8)]

    with pytest.raises(DataError, match="questions of okvqa differ") as caught:
        compare(tmp_path, a, b)

    assert "6 stand only in A (first: 0, 10, 20, 30, 40, ...)" in str(caught.value)
    assert "1 stand only in B (first: 80)" in str(caught.value)
    assert "--common to compare the 2" in str(caught.value)


def test_the_questions_that_both_have_can_be_compared(tmp_path: Path) -> None:
    a, b = [sample(number) for number in range(8)], [sample(number) for number in (6, 7, 8)]

    found = compare(tmp_path, a, b, common=True)

    assert (found.n_questions, found.n_only_a, found.n_only_b) == (2, 6, 1)
    assert "Only the 2 questions that both runs have are compared; A has 8 and B 3." in found.notes


def test_runs_that_share_no_question_are_refused_in_any_case(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="They share none"):
        compare(tmp_path, [sample(1)], [sample(2)], common=True)


def test_equal_ids_of_other_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 questions .* another target \(first: 10\)"):
        compare(tmp_path, [sample(1), sample(2)], [sample(1, target="blue"), sample(2)])


def test_questions_without_an_id_are_paired_by_their_number(tmp_path: Path) -> None:
    a = [sample(number, question_id=7) for number in range(3)]

    assert compare(tmp_path, a, list(reversed(a))).equal_answers == 1


def test_runs_that_tell_questions_apart_by_other_fields_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="by question_id in A and by doc_id in B"):
        compare(tmp_path, [sample(1)], [sample(1, question_id=None)])


def test_questions_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be told apart"):
        compare(tmp_path, [sample(1), sample(1)], [sample(1)])


def test_a_run_without_samples_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", {"okvqa": [sample(1)]})
    (samples,) = path.parent.glob("*.jsonl")

    samples.write_text("")
    with pytest.raises(DataError, match="has no samples"):
        compare_files(path, path)
    samples.unlink()
    with pytest.raises(DataError, match="again with --log_samples"):
        compare_files(path, path)


def test_samples_that_were_cut_off_are_noticed(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", {"okvqa": [sample(1), sample(2)]})
    (samples,) = path.parent.glob("*.jsonl")
    samples.write_text(samples.read_text("utf-8").splitlines(keepends=True)[0])

    notes = compare_files(path, path).tasks[0].notes

    assert "A asked 2 questions, and its samples file has 1: it may have been cut off." in notes


def test_answers_that_are_no_text_are_not_counted(tmp_path: Path) -> None:
    likely = [[-0.5, True], [-2.5, False]]
    a = [sample(1, likely), sample(2, likely, 0.0)]
    b = [sample(1, likely), sample(2, likely, 1.0)]

    found = compare(tmp_path, a, b)

    assert found.equal_answers is None
    assert any("no text" in note for note in found.notes)
    assert [change.answer_a for change in found.changes] == [None]
    assert found.scores[0].difference.difference == 0.5


def submitted(number: int, answer: str) -> Sample:
    submission = {"question_id": number, "answer": answer}
    return {"doc_id": number, "target": "", "filtered_resps": answer, "submission": submission}


def test_answers_to_be_submitted_are_compared_without_scores(tmp_path: Path) -> None:
    found = compare(
        tmp_path,
        [submitted(1, "red"), submitted(2, "red")],
        [submitted(1, "red"), submitted(2, "no")],
    )

    assert (found.equal_answers, found.scores) == (0.5, ())
    assert found.change_counts == {"not scored": 1}
    assert any("only the organisers" in note for note in found.notes)


def test_the_score_that_the_task_names_is_compared(tmp_path: Path) -> None:
    path = write_run(tmp_path, {"okvqa": [sample(1, vqa_accuracy_official=0.3, extra=0.6)]})

    def name_rows(content: dict[str, Any]) -> None:
        content["results"]["okvqa"]["vqa_accuracy_official,none"] = 0.3
        content["configs"]["okvqa"]["score_key"] = "extra"

    edit_json(path, name_rows)
    assert [one.metric for one in compare_files(path, path).tasks[0].scores] == ["extra"]

    edit_json(path, lambda content: content["configs"]["okvqa"].pop("score_key"))
    with pytest.raises(InvalidArgumentError, match="which score stands for okvqa") as caught:
        compare_files(path, path)
    assert "--metric: vqa_accuracy, score, vqa_accuracy_official, extra" in str(caught.value)


def test_runs_whose_tasks_name_other_scores_must_be_told_which(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path)
    edit_json(b, lambda content: content["configs"]["okvqa"].update(score_key="score"))

    with pytest.raises(InvalidArgumentError, match="which score stands for okvqa"):
        compare_files(a, b)
    assert compare_files(a, b, metrics=["score"]).tasks[0].scores[0].metric == "score"


def test_scores_can_be_chosen(tmp_path: Path) -> None:
    a = [sample(number, official={"score": number % 2}, exact=True) for number in range(4)]

    found = compare(tmp_path, a, a, metrics=["official", "exact", "official"])

    assert [one.metric for one in found.scores] == ["official", "exact"]
    assert [one.difference.value for one in found.scores] == [0.5, 1.0]
    with pytest.raises(InvalidArgumentError, match="no score 'accuracy'"):
        compare(tmp_path, a, a, metrics=["accuracy"])


@pytest.mark.parametrize("missing", [None, "1.0", float("nan")])
def test_a_score_that_one_question_lacks_is_none_of_the_run(tmp_path: Path, missing: Any) -> None:
    a, b = [sample(1), sample(2)], [sample(1), sample(2, score=missing)]

    with pytest.raises(InvalidArgumentError, match="no score 'vqa_accuracy' for each question"):
        compare(tmp_path, a, b, metrics=["vqa_accuracy"])


def test_scores_beyond_1_have_the_range_of_their_values(tmp_path: Path) -> None:
    a = [sample(number, "red", 20.0 * number) for number in range(5)]
    b = [sample(number, "blue", 20.0) for number in range(5)]

    found = compare(tmp_path, a, b)

    kinds = [change.change for change in found.changes]
    assert kinds == ["better", "same score", "right->wrong", "right->wrong", "right->wrong"]
    assert found.scores[0].difference.interval.low < -20


def test_p_values_are_adjusted_over_all_scores_of_all_tasks(tmp_path: Path) -> None:
    samples = {"okvqa": [sample(1), sample(2)], "easy_vqa": [sample(1), sample(2)]}
    path = write_run(tmp_path, samples)

    both = compare_files(path, path)
    alone = compare_files(path, path, task="okvqa")

    adjusted = [task.scores[0].difference.adjusted_p_value for task in both.tasks]
    assert [task.task for task in both.tasks] == ["okvqa", "easy_vqa"]
    assert None not in adjusted
    assert alone.tasks[0].scores[0].difference.adjusted_p_value is None


def test_tasks_that_one_run_lacks_are_named(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {"okvqa": [sample(1)], "easy_vqa": [sample(1)]})
    b = write_run(tmp_path / "b", {"okvqa": [sample(1)]})
    c = write_run(tmp_path / "c", {"vqa_v2_val": [sample(1)]})

    assert compare_files(a, b).notes == ("Only A has the task easy_vqa.",)
    assert compare_files(a, b, task="okvqa").notes == ()
    with pytest.raises(DataError, match="share no task: A has okvqa, easy_vqa, and B has vqa_v2"):
        compare_files(a, c)
    with pytest.raises(DataError, match="no task easy_vqa"):
        compare_files(a, b, task="easy_vqa")


def record(k: int, **provenance: Any) -> dict[str, Any]:
    experts = {"requested": k, "observed": k, "baseline": 8, "experts_k": str(k)}
    shared = {"pretrained": "demo", "revision": "abc", "versions": {"torch": "2.9", "vllm": None}}
    return {"experts": experts, "provenance": {**shared, **provenance}}


def write_pair(folder: Path, *records: dict[str, Any]) -> tuple[Path, Path]:
    """Write two runs over one question, with a record of ours where one is given."""
    a, b = (write_run(folder / name, {"okvqa": [sample(1)]}) for name in "ab")
    for path, found in zip((a, b), records, strict=False):
        add_record(path, found)
    return a, b


def add_record(path: Path, found: dict[str, Any]) -> None:
    edit_json(path, lambda content: content.update(moe_eval={"okvqa": found}))


def settings_of(found: TaskComparison) -> Mapping[str, tuple[str | None, str | None]]:
    return {one.name: (one.a, one.b) for one in found.settings}


def test_what_differs_between_the_runs_is_shown(tmp_path: Path) -> None:
    a, b = write_pair(
        tmp_path,
        record(8, batch_size=8, dtype="float32"),
        record(4, batch_size=16, dtype="float32"),
    )
    edit_json(b, lambda content: content["config"].update(model="moe_vllm", batch_size=1))

    shown = settings_of(compare_files(a, b).tasks[0])

    assert shown == {
        "backend": ("qwen3_vl", "moe_vllm"),
        "model": ("demo", "demo"),
        "k requested": ("8", "4"),
        "k observed": ("8", "4"),
        "k baseline": ("8", "8"),
        "experts_k": ("8", "4"),
        "batch_size": ("8", "16"),
    }


@pytest.mark.parametrize("name", ["revision", "dtype", "torch"])
def test_revision_type_and_versions_are_among_what_differs(tmp_path: Path, name: str) -> None:
    other: dict[str, Any] = {name: "other"}
    changed = {"versions": other} if name == "torch" else other
    a, b = write_pair(tmp_path, record(8), record(8, **changed))

    shown = settings_of(compare_files(a, b).tasks[0])

    key = "version of torch" if name == "torch" else name
    assert shown[key] == ({"revision": "abc", "torch": "2.9"}.get(name), "other")


def test_a_model_that_is_not_ours_has_no_k(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path)
    edit_json(a, lambda content: content["config"].update(model_args="dtype=float16"))
    add_record(b, record(4))

    shown = settings_of(compare_files(a, b).tasks[0])

    assert shown["k requested"] == (None, "4")
    assert shown["model"] == ("Qwen/Qwen3-VL-4B", "demo")
    assert shown["model_args"] == ("dtype=float16", None)


def test_prompts_that_differ_are_noticed(tmp_path: Path) -> None:
    found = compare(tmp_path, [sample(1), sample(2)], [sample(1), sample(2, input="Colour?")])

    assert "The prompts of 1 questions differ." in found.notes


def test_the_table_says_what_was_found(tmp_path: Path) -> None:
    a = [sample(number) for number in range(100)]
    b = [sample(number, *(("blue", 0.0) if number < 5 else ())) for number in range(100)]
    first = write_run(tmp_path / "a", {"okvqa": a})
    second = write_run(tmp_path / "b", {"okvqa": b})

    text = render(compare_files(first, second, margin=0.01))

    assert text.startswith(f"A  {first}\nB  {second}\n")
    assert "okvqa: 100 questions, equal answers 95.00%" in text
    (row,) = [line.split() for line in text.splitlines() if line.startswith("vqa_accuracy  ")]
    assert row[:4] == ["vqa_accuracy", "1.0000", "0.9500", "-0.0500"]
    assert row[-3:] == ["95.0%", "0", "5"]
    assert "interval from 50 images" in text
    assert "vqa_accuracy within 0.01 of A: cannot tell" in text
    assert "Changed questions: 5 (right->wrong 5)" in text
    assert all(len(line) <= 100 or line.startswith(("A ", "B ")) for line in text.splitlines())


def test_the_list_of_changes_can_be_read_back(tmp_path: Path) -> None:
    a = [sample(1, '=1+1, "red"\n', 1.0), sample(2, "naïve", 0.3)]
    b = [sample(1, "blue", 0.0), sample(2, "-", 0.3)]
    changes = compare(tmp_path, a, b).changes

    rows = list(csv.DictReader(io.StringIO(changes_csv(changes))))
    entries = json.loads(changes_json(changes))

    assert [row["question"] for row in rows] == ["10", "20"]
    assert [row["change"] for row in rows] == ["right->wrong", "same score"]
    assert [row["answer_a"] for row in rows] == ['\'=1+1, "red"', "naïve"]
    assert rows[1]["answer_b"] == "'-"
    assert [(row["vqa_accuracy_a"], row["vqa_accuracy_b"]) for row in rows] == [
        ("1.0", "0.0"),
        ("0.3", "0.3"),
    ]
    assert entries == [change.to_dict() for change in changes]
    assert list(csv.reader(io.StringIO(changes_csv([])))) != []


def test_a_comparison_is_plain_data(tmp_path: Path) -> None:
    path = write_run(tmp_path, {"okvqa": [sample(1)]})

    found = compare_files(path, path, margin=0.01).to_dict()

    assert json.loads(json.dumps(found))["tasks"][0]["scores"][0]["metric"] == "vqa_accuracy"
    assert found["tasks"][0]["changes"] == {}
