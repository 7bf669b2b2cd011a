"""The check of official files: a whole OK-VQA, and each fault that it may have."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pty
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.commands import data
from moe_eval_plugin.data_check import check_folder, count_bytes, exit_code
from moe_eval_plugin.data_check_text import render
from moe_eval_plugin.errors import DataError
from moe_eval_plugin.official import OFFICIAL_FILES, load_official
from tests.vqa_files import (
    ANSWERS,
    cut_off,
    edit_json,
    given,
    write_complete,
    write_json,
    write_official,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moe_eval_plugin.data_check import SplitReport
    from moe_eval_plugin.data_faults import Finding

FILES = OFFICIAL_FILES["okvqa"]
QUESTIONS = FILES.questions
ANNOTATIONS = str(FILES.annotations)
PROGRAM = """
import argparse
from moe_eval_plugin.commands import data
parser = argparse.ArgumentParser()
data.add(parser.add_subparsers())
options = parser.parse_args()
raise SystemExit(options.run(options))
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole OK-VQA, not to be changed."""
    folder = tmp_path_factory.mktemp("complete")
    write_complete(folder)
    return folder


@pytest.fixture
def folder(complete: Path, tmp_path: Path) -> Path:
    """A whole OK-VQA whose files may be changed; its images are those of ``complete``."""
    for name in (QUESTIONS, ANNOTATIONS):
        (tmp_path / name).write_bytes((complete / name).read_bytes())
    (tmp_path / FILES.image_folder).symlink_to(complete / FILES.image_folder)
    return tmp_path


def okvqa(folder: Path, *, strict: bool = False) -> SplitReport:
    (report,) = (r for r in check_folder(folder, strict=strict) if r.name == "okvqa")
    return report


def only_finding(folder: Path, *, strict: bool = False) -> Finding:
    (finding,) = okvqa(folder, strict=strict).findings
    return finding


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    data.add(parser.add_subparsers())
    options = parser.parse_args(["data", "check", *arguments])
    return options.run(options), capsys.readouterr().out


def test_a_complete_split(complete: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = okvqa(complete)
    assert report.findings == ()
    assert (report.n_questions, report.n_images) == (5046, 5046)
    assert report.answer_sets == ("as-given", "raw")
    assert report.files == {
        str(complete / name): hashlib.sha256((complete / name).read_bytes()).hexdigest()
        for name in (QUESTIONS, ANNOTATIONS)
    }
    code, text = run(str(complete), capsys=capsys)
    assert code == 0
    assert text.splitlines() == [
        "okvqa: all is well (5,046 questions, 5,046 images, answers as-given and raw)",
        "vqa_v2_val: not there",
        "vqa_v2_test_dev: not there",
        "vqa_v2_test: not there",
    ]


def test_json_holds_all_that_was_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(folder / ANNOTATIONS, lambda c: c["annotations"].__delitem__(slice(7)))
    code, text = run(str(folder), "--json", capsys=capsys)
    found = json.loads(text)
    assert (code, found["ok"], found["folder"]) == (1, False, str(folder))
    split = found["splits"][0]
    assert (split["name"], split["is_there"], split["n_questions"]) == ("okvqa", True, 5046)
    assert split["findings"] == [
        {
            "kind": "error",
            "what": "questions without an annotation",
            "remedy": "Take the questions and the annotations of one release.",
            "count": 7,
            "first": [11, 21, 31, 41, 51],
        }
    ]
    absent = found["splits"][1]
    assert (absent["is_there"], absent["n_questions"]) == (False, None)


def test_what_is_said_of_a_finding(folder: Path) -> None:
    edit_json(folder / ANNOTATIONS, lambda c: c["annotations"].__delitem__(slice(7)))
    reports = check_folder(folder)
    assert render(folder, reports).splitlines()[:4] == [
        "okvqa: errors: 1, warnings: 0 (5,046 questions, 5,046 images, answers as-given and raw)",
        "  error: questions without an annotation",
        "    7 (first: 11, 21, 31, 41, 51, ...)",
        "    -> Take the questions and the annotations of one release.",
    ]


def annotation(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    """Change the second annotation, that of question 21."""
    return lambda content: change(content["annotations"][1])


@pytest.mark.parametrize(
    ("name", "change", "kind", "what", "first"),
    [
        (
            QUESTIONS,
            lambda c: c["questions"].append(c["questions"][0]),
            "error",
            f"question ids that occur again in {QUESTIONS}",
            11,
        ),
        (
            ANNOTATIONS,
            lambda c: c["annotations"].append(c["annotations"][0]),
            "error",
            f"question ids that occur again in {ANNOTATIONS}",
            11,
        ),
        (
            ANNOTATIONS,
            lambda c: c["annotations"].append({**c["annotations"][0], "question_id": 5}),
            "error",
            "annotations without a question",
            5,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a.update(image_id=3)),
            "error",
            "annotations of another image than their question",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a["answers"].pop()),
            "error",
            "annotations with other than 10 answers",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a["answers"][3].update(answer=None)),
            "error",
            "annotations with an answer that is no text",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a.pop("question_type")),
            "warning",
            "annotations without the type of the question or of the answer",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a.update(answers=given(ANSWERS))),
            "warning",
            f'1 annotations of {ANNOTATIONS} have no "raw_answer", and others have it',
            None,
        ),
        (
            QUESTIONS,
            lambda c: c.update(data_subtype="train"),
            "error",
            f"{QUESTIONS} is of another split: data_subtype is train, where val2014 was expected",
            None,
        ),
        (
            ANNOTATIONS,
            lambda c: c.pop("data_subtype"),
            "warning",
            f"{ANNOTATIONS} does not say of which split it is: data_subtype is absent",
            None,
        ),
    ],
)
def test_each_fault_is_found(
    folder: Path,
    name: str,
    change: Callable[[dict[str, Any]], object],
    kind: str,
    what: str,
    first: int | None,
) -> None:
    edit_json(folder / name, change)
    finding = only_finding(folder)
    assert (finding.kind, finding.what, finding.count) == (kind, what, 1)
    assert finding.first == (() if first is None else (first,))
    assert "official" in finding.remedy or "release" in finding.remedy
    assert exit_code(check_folder(folder)) == (kind == "error")


def test_entries_that_lack_something_are_counted_and_passed_over(folder: Path) -> None:
    def break_three(content: dict[str, Any]) -> None:
        content["questions"][0].update(question_id="11")
        content["questions"][1].pop("image_id")
        content["questions"][2].update(image_id=None)

    edit_json(folder / QUESTIONS, break_three)
    report = okvqa(folder)
    found = {finding.what: (finding.count, finding.first) for finding in report.findings}
    assert found == {
        f'entries of {QUESTIONS} whose "question_id" is absent or not of type int': (
            1,
            ("entry 1",),
        ),
        f'entries of {QUESTIONS} whose "image_id" is absent or not of type int': (
            2,
            ("entry 2", "entry 3"),
        ),
        f"{QUESTIONS} has 5,043 questions, where 5,046 were expected": (1, ()),
        "annotations without a question": (3, (11, 21, 31)),
    }


def test_a_part_of_the_questions_is_not_complete(folder: Path) -> None:
    edit_json(folder / QUESTIONS, lambda content: content["questions"].pop())
    edit_json(folder / ANNOTATIONS, lambda content: content["annotations"].pop())
    finding = only_finding(folder)
    assert finding.what == f"{QUESTIONS} has 5,045 questions, where 5,046 were expected"
    assert finding.kind == "error"


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_off, "is not complete JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe{"), "is not UTF-8 text"),
        (lambda path: write_json(path, [1]), "has an unexpected form"),
        (lambda path: path.unlink(), "was found neither in"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_finding(
    folder: Path, name: str, damage: Callable[[Path], object], said: str
) -> None:
    damage(folder / name)
    report = okvqa(folder)
    (finding,) = report.findings
    assert said in finding.what
    assert name in finding.what
    assert finding.kind == "error"
    assert report.n_questions == (None if name == QUESTIONS else 5046)
    opened = [name] if (folder / name).exists() else []
    assert [path for path, sha256 in report.files.items() if sha256 is None] == [
        str(folder / name) for name in opened
    ]


def test_a_file_that_is_there_twice(folder: Path) -> None:
    (folder / "again").mkdir()
    (folder / "again" / QUESTIONS).write_bytes((folder / QUESTIONS).read_bytes())
    finding = only_finding(folder)
    assert "was found more than once" in finding.what


@pytest.fixture
def three_images(folder: Path) -> Path:
    """A folder of images that has only three of them."""
    images = folder / FILES.image_folder
    images.unlink()
    images.mkdir()
    for image_id in (1, 2, 3):
        (images / FILES.image_name.format(image_id)).touch()
    return images


def test_missing_images_are_a_warning(folder: Path, three_images: Path) -> None:
    finding = only_finding(folder)
    assert (finding.kind, finding.count) == ("warning", 5043)
    assert finding.what == f"questions without an image in {three_images}"
    assert finding.first == (41, 51, 61, 71, 81)
    assert exit_code(check_folder(folder)) == 0
    assert load_official("okvqa", folder).n_left_out == finding.count


def test_missing_images_are_an_error_where_all_are_asked_for(
    folder: Path,
    three_images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert three_images.is_dir()
    assert only_finding(folder, strict=True).kind == "error"
    monkeypatch.setenv("MOE_EVAL_DATA_STRICT", "1")
    code, text = run(str(folder), capsys=capsys)
    assert code == 1
    assert "(MOE_EVAL_DATA_STRICT is set)" in text


def test_images_of_another_split_are_an_error(folder: Path, three_images: Path) -> None:
    for image in three_images.iterdir():
        image.rename(image.with_name(image.name.replace("val", "train")))
    finding = only_finding(folder)
    assert (finding.kind, finding.count) == ("error", 5046)
    assert "no question has one" in finding.what
    assert "COCO_val2014_000000000042.jpg" in finding.remedy


def test_no_folder_of_images_is_an_error(folder: Path) -> None:
    (folder / FILES.image_folder).unlink()
    finding = only_finding(folder)
    assert finding.kind == "error"
    assert finding.what.startswith("val2014 was found neither in")


def test_a_split_without_public_answers(tmp_path: Path) -> None:
    write_official(tmp_path, "vqa_v2_test_dev")
    (report,) = (report for report in check_folder(tmp_path) if report.is_there)
    assert (report.name, report.n_questions, report.answer_sets) == ("vqa_v2_test_dev", 3, ())
    (finding,) = report.findings
    assert "has 3 questions, where 107,394 were expected" in finding.what


def test_no_split_at_all_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "val2014").mkdir()
    code, text = run(str(tmp_path), capsys=capsys)
    assert code == 1
    assert text.startswith(f"No official file was found in {tmp_path}")
    for name, files in OFFICIAL_FILES.items():
        assert f"  {name}: {files.questions}" in text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder. Name the folder"):
        check_folder(tmp_path / "nowhere")


def test_every_byte_is_counted(complete: Path) -> None:
    pieces: list[int] = []
    check_folder(complete, progress=pieces.append)
    assert sum(pieces) == count_bytes(complete)
    assert count_bytes(complete) == sum(path.stat().st_size for path in complete.glob("*.json"))


def test_the_bar_is_drawn_on_a_terminal_and_nowhere_else(complete: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "data", "check", str(complete)]
    terminal, end = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, check=True)
    os.set_blocking(terminal, False)
    assert b"%|" in os.read(terminal, 10_000)
    os.close(terminal)
    os.close(end)
    assert shown.stdout.startswith(b"okvqa: all is well")
    silent = subprocess.run(command, capture_output=True, check=True)
    assert silent.stderr == b""


def test_the_real_files(vqa_data: Path) -> None:
    reports = {report.name: report for report in check_folder(vqa_data)}
    assert (reports["okvqa"].n_questions, reports["okvqa"].count("error")) == (5046, 0)
    assert [finding.kind for finding in reports["vqa_v2_val"].findings] == [
        *["error"] * 3,
        "warning",
    ]
    assert "589 questions, where 214,354" in str(reports["vqa_v2_val"].findings)
