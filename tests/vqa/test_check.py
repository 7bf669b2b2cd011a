"""The check of official files: a whole OK-VQA, and each fault that it may have."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.vqa.check import check_folder, count_bytes, exit_code
from moe_eval_plugin.vqa.official_data import load_official
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from tests.vqa.checked_okvqa import ANNOTATIONS, FILES, QUESTIONS, data_check, okvqa, only_finding
from tests.vqa.vqa_files import (
    cut_off,
    edit_json,
    write_json,
    write_official,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_complete_split(whole_okvqa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = okvqa(whole_okvqa)
    assert report.findings == ()
    assert (report.n_questions, report.n_images) == (5046, 5046)
    assert report.answer_sets == ("as-given", "raw")
    assert report.files == {
        str(whole_okvqa / name): hashlib.sha256((whole_okvqa / name).read_bytes()).hexdigest()
        for name in (QUESTIONS, ANNOTATIONS)
    }
    code, text = data_check(str(whole_okvqa), capsys=capsys)
    assert code == 0
    assert text.splitlines() == [
        "okvqa: complete (5,046 questions, 5,046 images, answers as-given and raw)",
        "vqa_v2_val: not found",
        "vqa_v2_test_dev: not found",
        "vqa_v2_test: not found",
    ]


def test_entries_that_lack_something_are_counted_and_passed_over(okvqa_folder: Path) -> None:
    def break_three(content: dict[str, Any]) -> None:
        content["questions"][0].update(question_id="11")
        content["questions"][1].pop("image_id")
        content["questions"][2].update(image_id=None)

    edit_json(okvqa_folder / QUESTIONS, break_three)
    report = okvqa(okvqa_folder)
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
        f"{QUESTIONS} has 5,043 questions instead of 5,046": (1, ()),
        "annotations without a question": (3, (11, 21, 31)),
    }


def test_a_part_of_the_questions_is_not_complete(okvqa_folder: Path) -> None:
    edit_json(okvqa_folder / QUESTIONS, lambda content: content["questions"].pop())
    edit_json(okvqa_folder / ANNOTATIONS, lambda content: content["annotations"].pop())
    finding = only_finding(okvqa_folder)
    assert finding.what == f"{QUESTIONS} has 5,045 questions instead of 5,046"
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
    okvqa_folder: Path, name: str, damage: Callable[[Path], object], said: str
) -> None:
    damage(okvqa_folder / name)
    report = okvqa(okvqa_folder)
    (finding,) = report.findings
    assert said in finding.what
    assert name in finding.what
    assert finding.kind == "error"
    assert report.n_questions == (None if name == QUESTIONS else 5046)
    opened = [name] if (okvqa_folder / name).exists() else []
    assert [path for path, sha256 in report.files.items() if sha256 is None] == [
        str(okvqa_folder / name) for name in opened
    ]


def test_a_file_that_is_there_twice(okvqa_folder: Path) -> None:
    (okvqa_folder / "again").mkdir()
    (okvqa_folder / "again" / QUESTIONS).write_bytes((okvqa_folder / QUESTIONS).read_bytes())
    finding = only_finding(okvqa_folder)
    assert "was found more than once" in finding.what


@pytest.fixture
def three_images(okvqa_folder: Path) -> Path:
    """A folder of images that has only three of them."""
    images = okvqa_folder / FILES.image_folder
    images.unlink()
    images.mkdir()
    for image_id in (1, 2, 3):
        (images / FILES.image_name.format(image_id)).touch()
    return images


def test_missing_images_are_a_warning(okvqa_folder: Path, three_images: Path) -> None:
    finding = only_finding(okvqa_folder)
    assert (finding.kind, finding.count) == ("warning", 5043)
    assert finding.what == f"questions without an image in {three_images}"
    assert finding.first == (41, 51, 61, 71, 81)
    assert exit_code(check_folder(okvqa_folder)) == 0
    assert load_official("okvqa", okvqa_folder).n_left_out == finding.count


def test_missing_images_are_an_error_where_all_are_asked_for(
    okvqa_folder: Path,
    three_images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert three_images.is_dir()
    assert only_finding(okvqa_folder, strict=True).kind == "error"
    monkeypatch.setenv("MOE_EVAL_DATA_STRICT", "1")
    code, text = data_check(str(okvqa_folder), capsys=capsys)
    assert code == 1
    assert "(MOE_EVAL_DATA_STRICT is set)" in " ".join(text.split())


def test_images_of_another_split_are_an_error(okvqa_folder: Path, three_images: Path) -> None:
    for image in three_images.iterdir():
        image.rename(image.with_name(image.name.replace("val", "train")))
    finding = only_finding(okvqa_folder)
    assert (finding.kind, finding.count) == ("error", 5046)
    assert "no question has one" in finding.what
    assert "COCO_val2014_000000000042.jpg" in finding.remedy


def test_no_folder_of_images_is_an_error(okvqa_folder: Path) -> None:
    (okvqa_folder / FILES.image_folder).unlink()
    finding = only_finding(okvqa_folder)
    assert finding.kind == "error"
    assert finding.what.startswith("val2014 was found neither in")


def test_a_split_without_public_answers(tmp_path: Path) -> None:
    write_official(tmp_path, "vqa_v2_test_dev")
    (report,) = (report for report in check_folder(tmp_path) if report.is_there)
    assert (report.name, report.n_questions, report.answer_sets) == ("vqa_v2_test_dev", 3, ())
    (finding,) = report.findings
    assert "has 3 questions instead of 107,394" in finding.what


def test_no_split_at_all_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "val2014").mkdir()
    code, text = data_check(str(tmp_path), capsys=capsys)
    assert code == 1
    assert " ".join(text.split()).startswith(f"No official file was found in {tmp_path}")
    for name, files in OFFICIAL_FILES.items():
        assert f"  {name}: {files.questions}" in text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder. Pass the folder"):
        check_folder(tmp_path / "nowhere")


def test_every_byte_is_counted(whole_okvqa: Path) -> None:
    pieces: list[int] = []
    check_folder(whole_okvqa, progress=pieces.append)
    assert sum(pieces) == count_bytes(whole_okvqa)
    assert count_bytes(whole_okvqa) == sum(
        path.stat().st_size for path in whole_okvqa.glob("*.json")
    )


def test_the_real_files(vqa_data: Path) -> None:
    reports = {report.name: report for report in check_folder(vqa_data)}
    assert (reports["okvqa"].n_questions, reports["okvqa"].count("error")) == (5046, 0)
    assert [finding.kind for finding in reports["vqa_v2_val"].findings] == [
        *["error"] * 3,
        "warning",
    ]
    assert "589 questions instead of 214,354" in str(reports["vqa_v2_val"].findings)
