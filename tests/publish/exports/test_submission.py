"""Submissions: the form of the file, what is refused, and the score of that very file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.publish.exports.submission import (
    official_scores,
)
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.vqa.official_data import read_annotations
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from tests.publish.exports.submissions import FORMATS, IDS, SPLITS, export, refused, samples
from tests.results import sample_records
from tests.results.run_files import write_run
from tests.results.sample_records import experts
from tests.vqa.vqa_files import edit_json, write_official

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FILE_NAMES = {
    "vqa_v2_val": "v2_OpenEnded_mscoco_val2014_Qwen3-VL-4B_results.json",
    "vqa_v2_test_dev": "vqa_OpenEnded_mscoco_test-dev2015_Qwen3-VL-4B_results.json",
    "vqa_v2_test": "vqa_OpenEnded_mscoco_test2015_Qwen3-VL-4B_results.json",
    "okvqa": "OpenEnded_mscoco_val2014_Qwen3-VL-4B_results.json",
    "okvqa_raw": "OpenEnded_mscoco_val2014_Qwen3-VL-4B_results.json",
}


# None of these has white space at its ends, which is left out.
ANSWERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text == text.strip()
)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("task", SPLITS)
def test_the_file_is_the_array_that_the_challenge_describes(tmp_path: Path, task: str) -> None:
    answers = dict(zip(reversed(IDS), ("blue", " the  red. \n", "two"), strict=True))
    ((name, text),) = export(tmp_path, task, samples(task, answers)).files.items()
    assert name == FILE_NAMES[task]
    assert json.loads(text) == [
        {"question_id": IDS[0], "answer": "two"},
        {"question_id": IDS[1], "answer": "the  red."},
        {"question_id": IDS[2], "answer": "blue"},
    ]


@given(answers=st.tuples(ANSWERS, ANSWERS, ANSWERS))
@settings(max_examples=50)
def test_every_text_is_kept_and_written_as_ascii(
    tmp_path_factory: pytest.TempPathFactory, answers: tuple[str, str, str]
) -> None:
    folder = tmp_path_factory.mktemp("text")
    write_official(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOE_EVAL_DATA", str(folder))
        exported = export(folder, "okvqa", samples("okvqa", dict(zip(IDS, answers, strict=True))))
    (text,) = exported.files.values()
    assert text.isascii()
    assert tuple(entry["answer"] for entry in json.loads(text)) == answers


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("change", "method"),
    [
        (lambda _: None, "Qwen3-VL-4B"),
        (lambda content: content.update(model_name="/models/my model: 2/"), "my-model-2"),
        (lambda content: content.update(model_name="../.."), "model"),
        (lambda content: content.update(model_name="模型"), "model"),
        (lambda content: content.update(model_name="m" * 300), "m" * 80),
        (
            lambda content: content.update(moe_eval=record("4", "uniform", "native")),
            "Qwen3-VL-4B-k4",
        ),
        (
            lambda content: content.update(moe_eval=record("8/image+2-3:2", "top_p:0.9", "unit")),
            "Qwen3-VL-4B-k8-image-2-3-2-top-p-0.9-unit",
        ),
        (
            lambda content: content.update(moe_eval=record(None, "uniform", "native")),
            "Qwen3-VL-4B",
        ),
    ],
)
def test_the_file_name_says_what_was_run(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], method: str
) -> None:
    file = write_run(tmp_path, {"okvqa": samples("okvqa", dict.fromkeys(IDS, "red"))})
    edit_json(file, change)
    (name,) = FORMATS["okvqa"].export([read_run(file)], None).files
    assert name == f"OpenEnded_mscoco_val2014_{method}_results.json"


def record(experts_k: str | None, policy: str, renorm: str) -> dict[str, Any]:
    used = experts(experts_k=experts_k, experts_policy=policy, renorm=renorm)
    return {"okvqa": sample_records.record("okvqa", experts=used).to_dict()}


@pytest.mark.usefixtures("data")
def test_every_task_of_the_format_is_written(tmp_path: Path) -> None:
    made = {
        task: samples(task, dict.fromkeys(IDS, "red"))
        for task in ("vqa_v2_val", "okvqa", "vqa_v2_test")
    }
    run = read_run(write_run(tmp_path / "run", made))
    both = FORMATS["evalai"].export([run], None)
    assert list(both.files) == [FILE_NAMES["vqa_v2_val"], FILE_NAMES["vqa_v2_test"]]
    assert {note.partition(":")[0] for note in both.notes} == {"vqa_v2_val", "vqa_v2_test"}
    one = FORMATS["evalai"].export([run], "vqa_v2_test")
    assert list(one.files) == [FILE_NAMES["vqa_v2_test"]]


@pytest.mark.usefixtures("data")
def test_tasks_of_other_formats_are_refused(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", {"okvqa": [], "easy_vqa": []}))
    with pytest.raises(DataError, match="has no task with this format; its tasks: okvqa, easy_vqa"):
        FORMATS["evalai"].export([run], None)
    with pytest.raises(InvalidArgumentError, match=r"--task easy_vqa .* one of: okvqa, okvqa_raw"):
        FORMATS["okvqa"].export([run], "easy_vqa")
    with pytest.raises(DataError, match="has no task okvqa_raw; its tasks: okvqa, easy_vqa"):
        FORMATS["okvqa"].export([run], "okvqa_raw")


@pytest.mark.usefixtures("data")
def test_two_tasks_of_one_file_name_are_refused(tmp_path: Path) -> None:
    given_samples = samples("okvqa", dict.fromkeys(IDS, "red"))
    with pytest.raises(InvalidArgumentError, match="Choose one of them with --task"):
        export(tmp_path, "okvqa", given_samples, okvqa_raw=given_samples)


def test_several_runs_are_refused(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / name, {"okvqa": []})) for name in "ab"]
    with pytest.raises(InvalidArgumentError, match="holds one run, and these are 2") as caught:
        FORMATS["okvqa"].export(runs, None)
    assert str(runs[1].path) in str(caught.value)


@pytest.mark.parametrize(("task", "data_set"), [("okvqa", "okvqa"), ("okvqa_raw", "okvqa")])
def test_without_official_files_the_questions_are_counted(
    tmp_path: Path, task: str, data_set: str
) -> None:
    n_questions = OFFICIAL_FILES[data_set].n_questions
    whole = samples(task, dict.fromkeys(range(n_questions), "red"))
    exported = export(tmp_path, task, whole)
    assert f"{n_questions:,} questions, each answered once" in exported.notes[0]
    assert "ids were not compared" in exported.notes[0]
    for count in (n_questions - 1, 1):
        error = refused(tmp_path, task, whole[:count])
        assert f"{count:,} questions are answered, and the split has 5,046" in str(error)
        assert "MOE_EVAL_DATA" in str(error)
        assert error.faults == ()
    assert refused(tmp_path, task, [*whole, whole[0]]).faults == ("repeated 0",)


@pytest.mark.usefixtures("data")
def test_a_questions_file_that_is_no_whole_split_is_named(tmp_path: Path) -> None:
    exported = export(tmp_path, "vqa_v2_val", samples("vqa_v2_val", dict.fromkeys(IDS, "red")))
    assert "are those of v2_OpenEnded_mscoco_val2014_questions.json" in exported.notes[0]
    assert "this is only a part of the split, which has 214,354" in exported.notes[0]


def test_the_numbers_of_questions_are_those_of_the_data_sets() -> None:
    assert {name: files.n_questions for name, files in OFFICIAL_FILES.items()} == {
        "okvqa": 5_046,
        "vqa_v2_val": 214_354,
        "vqa_v2_test_dev": 107_394,
        "vqa_v2_test": 447_793,
    }


# Six people said red in some form, two blue and one pink: 1, 0.6 and 0.3 by leaving one out.
def test_the_official_score_of_the_file_is_told(tmp_path: Path, data: Path) -> None:
    answers = dict(zip(IDS, ("Red", "blue", "PINK."), strict=True))
    exported = export(tmp_path, "okvqa", samples("okvqa", answers))
    assert "okvqa: the official script scores this file: overall 63.33" in exported.notes
    (text,) = exported.files.values()
    scores = official_scores(text, read_annotations("okvqa", data) or {})
    assert scores == {"overall": pytest.approx(1.9 / 3)}


# The official script takes answers that are all the same as they are: "Yes" is not "yes".
def test_the_score_is_the_official_one_and_not_the_host_s(tmp_path: Path, data: Path) -> None:
    def agree(content: dict[str, Any]) -> None:
        for answer in content["annotations"][0]["answers"]:
            answer["answer"] = "Yes"

    edit_json(data / "vqa_v2_val" / str(OFFICIAL_FILES["vqa_v2_val"].annotations), agree)
    given_samples = samples("vqa_v2_val", {**dict.fromkeys(IDS, "red"), IDS[0]: "yes"})
    exported = export(tmp_path, "vqa_v2_val", given_samples)
    assert "overall 66.67" in " ".join(exported.notes)


def test_the_score_is_told_by_answer_type(tmp_path: Path, data: Path) -> None:
    def name_types(content: dict[str, Any]) -> None:
        kinds = ("yes/no", "number", "yes/no")
        for annotation, kind in zip(content["annotations"], kinds, strict=True):
            annotation["answer_type"] = kind

    edit_json(data / "vqa_v2_val" / str(OFFICIAL_FILES["vqa_v2_val"].annotations), name_types)
    answers = dict(zip(IDS, ("red", "blue", "pink"), strict=True))
    exported = export(tmp_path, "vqa_v2_val", samples("vqa_v2_val", answers))
    assert "overall 63.33, number 60.00, yes/no 65.00" in " ".join(exported.notes)


def test_a_question_without_known_answers_is_refused(tmp_path: Path, data: Path) -> None:
    edit_json(
        data / "okvqa" / str(OFFICIAL_FILES["okvqa"].annotations),
        lambda content: content["annotations"].pop(),
    )
    with pytest.raises(DataError, match=f"Question {IDS[2]} has no answers"):
        export(tmp_path, "okvqa", samples("okvqa", dict.fromkeys(IDS, "red")))


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("task", "advice"),
    [
        ("vqa_v2_test_dev", "run and export vqa_v2_test, which contains them"),
        ("vqa_v2_test", "Upload this file"),
    ],
)
def test_where_a_test_split_goes_is_told(tmp_path: Path, task: str, advice: str) -> None:
    notes = export(tmp_path, task, samples(task, dict.fromkeys(IDS, "red"))).notes
    assert "only the server can score this file" in " ".join(notes)
    assert advice in notes[-1]


def test_without_official_files_no_score_is_told(tmp_path: Path) -> None:
    whole = samples("okvqa", dict.fromkeys(range(5_046), "red"))
    assert "set MOE_EVAL_DATA" in export(tmp_path, "okvqa", whole).notes[1]
