from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.failures import IncompleteRunError
from moe_eval_plugin.results.files import find_runs, read_run
from tests.publish.exports.submissions import (
    FORMATS,
    IDS,
    SPLITS,
    export,
    refused,
    sample,
    samples,
)
from tests.results.run_files import FAILURES, write_run
from tests.vqa.vqa_files import edit_json, question_id, write_json, write_official

if TYPE_CHECKING:
    from pathlib import Path


def test_an_incomplete_run_keeps_all_its_faults() -> None:
    error = IncompleteRunError("some are missing", ["missing 1", "missing 2"])
    assert (str(error), error.faults) == ("some are missing", ("missing 1", "missing 2"))
    assert isinstance(error, DataError)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("answer", "oddity"),
    [
        ("red\0blue", "1 answers contain control characters"),
        ("x" * 1_000_000, "1 answers are longer than 1,000 characters"),
        ("\N{HEBREW LETTER ALEF}\N{RIGHT-TO-LEFT OVERRIDE}\N{HEBREW LETTER BET}", None),
        ("\N{LINE SEPARATOR}in\N{LINE SEPARATOR}between", None),
    ],
)
def test_odd_answers_are_kept_and_named(tmp_path: Path, answer: str, oddity: str | None) -> None:
    exported = export(tmp_path, "vqa_v2_test", samples("vqa_v2_test", dict.fromkeys(IDS, "a")))
    plain = exported.notes
    answers = {IDS[0]: answer, IDS[1]: "b", IDS[2]: "c"}
    exported = export(tmp_path, "vqa_v2_test", samples("vqa_v2_test", answers))
    (text,) = exported.files.values()
    assert json.loads(text)[0]["answer"] == answer.strip()
    said = [note for note in exported.notes if note not in plain]
    assert [oddity in note and str(IDS[0]) in note for note in said if oddity] == [True] * len(said)
    assert bool(said) == bool(oddity)


@pytest.mark.usefixtures("data")
def test_a_list_with_one_answer_is_that_answer(tmp_path: Path) -> None:
    given_samples = samples("okvqa", {key: ["red"] for key in IDS})
    (text,) = export(tmp_path, "okvqa", given_samples).files.values()
    assert {entry["answer"] for entry in json.loads(text)} == {"red"}


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("task", ["okvqa", "vqa_v2_test"])
def test_answers_of_lm_eval_are_submitted_as_those_of_lmms_eval(tmp_path: Path, task: str) -> None:
    given = dict(zip(IDS, ["red", " blue\n", "2"], strict=True))
    (theirs,) = export(tmp_path, task, samples(task, given)).files.values()
    lines = [
        {
            "doc_id": number,
            "doc": {"question_id": key},
            "arguments": {"gen_args_0": {"arg_0": "What?", "arg_1": {"until": ["\n"]}}},
            "filtered_resps": [answer],
            "filter": "none",
            "metrics": ["score"],
            **({"submission": one["submission"]} if "submission" in one else {}),
        }
        for number, (key, answer) in enumerate(given.items())
        for one in [sample(task, key, answer)]
    ]
    folder = tmp_path / "lm_eval"
    folder.mkdir()
    write_json(
        folder / "results_2026-11-28T19-55-25.json",
        {
            "results": {task: {"score,none": 1.0}},
            "configs": {task: {}},
            "config": {"model": "moe_hf-multimodal"},
            "lm_eval_version": "0.4.13",
        },
    )
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / f"samples_{task}_2026-11-28T19-55-25.jsonl").write_text(text, "utf-8")
    (run,) = find_runs(folder)
    assert run.host == "lm-eval"
    (ours,) = FORMATS[SPLITS[task]].export([run], None).files.values()
    assert ours == theirs


@pytest.mark.usefixtures("data")
def test_a_run_without_samples_is_refused(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run", {"okvqa": []})
    next(file.parent.glob("*.jsonl")).unlink()
    with pytest.raises(DataError, match="again with --log_samples"):
        FORMATS["okvqa"].export([read_run(file)], None)


@given(answered=st.sets(st.sampled_from(range(1, 41))))
@settings(max_examples=25)
def test_every_question_without_an_answer_is_listed(
    tmp_path_factory: pytest.TempPathFactory, answered: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("missing")
    write_official(folder, "vqa_v2_test", range(1, 41))
    everything = {question_id(number) for number in range(1, 41)}
    keys = {question_id(number) for number in answered}
    given_samples = samples("vqa_v2_test", dict.fromkeys(keys, "red"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOE_EVAL_DATA", str(folder))
        if keys == everything:
            assert export(folder, "vqa_v2_test", given_samples).files
            return
        error = refused(folder, "vqa_v2_test", given_samples)
    missing = sorted(everything - keys)
    assert list(error.faults) == [f"missing {key}" for key in missing]
    first = ", ".join(map(str, missing[:5])) + ", ..." * (len(missing) > 5)
    assert f"{len(missing)} questions have no answer (first: {first})" in str(error)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("wrong", "faults"),
    [
        ([(IDS[0], "a")], [f"repeated {IDS[0]}"]),
        ([(IDS[0], "a"), (IDS[0], "b")], [f"repeated {IDS[0]}"] * 2),
        ([(5, "a"), (1, "b")], ["unknown 1", "unknown 5"]),
        ([(5, "a"), (5, "a")], ["unknown 5", "repeated 5"]),
    ],
)
def test_answers_too_many_are_refused(
    tmp_path: Path, wrong: list[tuple[int, str]], faults: list[str]
) -> None:
    good = samples("okvqa", dict.fromkeys(IDS, "red"))
    bad = [sample("okvqa", key, answer) for key, answer in wrong]
    assert list(refused(tmp_path, "okvqa", good + bad).faults) == faults


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("answer", ["", " \n\t\N{NO-BREAK SPACE}"])
@pytest.mark.parametrize("task", ["vqa_v2_val", "vqa_v2_test"])
def test_empty_answers_are_refused(tmp_path: Path, task: str, answer: str) -> None:
    error = refused(tmp_path, task, samples(task, {**dict.fromkeys(IDS, "red"), IDS[1]: answer}))
    assert error.faults == (f"empty {IDS[1]}",)
    assert f"1 questions have an empty answer (first: {IDS[1]})" in str(error)
    assert "max_new_tokens" in str(error)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("answer", [*FAILURES, None, [None]])
@pytest.mark.parametrize("task", ["okvqa", "vqa_v2_test"])
def test_messages_about_failed_requests_are_refused_and_listed(
    tmp_path: Path, task: str, answer: object
) -> None:
    error = refused(tmp_path, task, samples(task, {**dict.fromkeys(IDS, "red"), IDS[1]: answer}))
    assert error.faults == (f"failed {IDS[1]}",)
    assert (
        f"1 questions have a message about a failed request in place of an answer (first: {IDS[1]}"
        in str(error)
    )
    assert f"The message of question {IDS[1]}: " in str(error)


@pytest.mark.usefixtures("data")
def test_half_a_character_is_refused(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run", {"okvqa": samples("okvqa", dict.fromkeys(IDS, "red"))})
    (path,) = file.parent.glob("*.jsonl")
    path.write_text(path.read_text("utf-8").replace('"red"', '"\\ud83d"', 1), encoding="utf-8")
    with pytest.raises(IncompleteRunError, match="not valid Unicode") as caught:
        FORMATS["okvqa"].export([read_run(file)], None)
    assert caught.value.faults == (f"not-unicode {IDS[0]}",)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("key", "answer"),
    [
        (None, "red"),
        ("71", "red"),
        (71.0, "red"),
        (True, "red"),
        (71, 5),
        (71, ["red", "blue"]),
        (71, []),
    ],
)
@pytest.mark.parametrize("task", ["okvqa", "vqa_v2_test"])
def test_samples_of_another_form_are_refused(
    tmp_path: Path, task: str, key: object, answer: object
) -> None:
    given_samples = [*samples(task, {IDS[1]: "red"}), sample(task, key, answer)]
    with pytest.raises(DataError, match=r"line 2, has question_id .* integer and one string"):
        export(tmp_path, task, given_samples)


@pytest.mark.usefixtures("data")
def test_samples_of_another_task_are_refused(tmp_path: Path) -> None:
    easy = [sample("easy_vqa", row, "circle") for row in range(9)]
    error = refused(tmp_path, "vqa_v2_val", easy)
    assert "3 questions have no answer" in str(error)
    assert "9 answers are to questions that are not in the split (first: 0, 1, 2" in str(error)


@pytest.mark.usefixtures("data")
def test_a_samples_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run", {"okvqa": samples("okvqa", dict.fromkeys(IDS, "red"))})
    (path,) = file.parent.glob("*.jsonl")
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2]), encoding="utf-8")
    with pytest.raises(IncompleteRunError, match="asked 3 questions, and its samples file has 2"):
        FORMATS["okvqa"].export([read_run(file)], None)
    path.write_text("".join(lines)[:-9], encoding="utf-8")
    with pytest.raises(DataError, match="line 3, is not a sample"):
        FORMATS["okvqa"].export([read_run(file)], None)


@pytest.mark.usefixtures("data")
def test_the_cause_is_named_where_the_run_knows_it(tmp_path: Path) -> None:

    def change(content: dict[str, Any]) -> None:
        content["config"]["limit"] = 2.0
        content["configs"]["okvqa"]["metadata"] |= {"n_left_out": 5020, "left_out_because": "so"}

    file = write_run(tmp_path / "run", {"okvqa": samples("okvqa", {IDS[0]: "red"})})
    edit_json(file, change)
    with pytest.raises(IncompleteRunError) as caught:
        FORMATS["okvqa"].export([read_run(file)], None)
    assert "The run left out 5020 questions because so." in str(caught.value)
    assert "limited by --limit 2." in str(caught.value)
