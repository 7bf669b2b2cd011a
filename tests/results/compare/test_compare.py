"""Two runs are compared: which questions pair, what changed, and what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.stats.paired import paired_difference
from tests.results.compare.compared_runs import QUICK, compare, compare_files, sample
from tests.results.run_files import FAILURES, write_run
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


ANSWERS = ("red", "blue", "two")


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


def test_failed_requests_are_counted_and_named(tmp_path: Path) -> None:
    found = compare(tmp_path, [sample(1), sample(2)], [sample(1), sample(2, FAILURES[0], 0.0)])
    (note,) = [note for note in found.notes if "failed requests" in note]
    assert note.startswith("B: 1 of 2 answers")


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

    assert "6 are only in A (first: 0, 10, 20, 30, 40, ...)" in str(caught.value)
    assert "1 are only in B (first: 80)" in str(caught.value)
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


def test_prompts_that_differ_are_noticed(tmp_path: Path) -> None:
    found = compare(tmp_path, [sample(1), sample(2)], [sample(1), sample(2, input="Colour?")])

    assert "The prompts of 1 questions differ." in found.notes
