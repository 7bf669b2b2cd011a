"""Where data comes from, the questions of the easy-vqa package, and the reading of images."""

from __future__ import annotations

from pathlib import Path

import easy_vqa
import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.vqa.dataset import data_folder, is_strict, load_easy_vqa


def test_no_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOE_EVAL_DATA", raising=False)
    assert data_folder() is None


def test_the_named_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path))
    assert data_folder() == tmp_path


def test_a_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"MOE_EVAL_DATA=.*nowhere is not a folder.*unset it"):
        data_folder()


@pytest.mark.parametrize(
    ("text", "strict"), [("1", True), ("Yes", True), ("0", False), ("", False)]
)
def test_strict(monkeypatch: pytest.MonkeyPatch, text: str, *, strict: bool) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA_STRICT", text)
    assert is_strict() is strict


def test_strict_is_off_by_default() -> None:
    assert is_strict() is False


def test_strict_with_another_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA_STRICT", "perhaps")
    with pytest.raises(
        InvalidArgumentError, match=r"MOE_EVAL_DATA_STRICT=perhaps.*Use true or false"
    ):
        is_strict()


def test_easy_vqa_is_complete() -> None:
    questions = load_easy_vqa()
    assert len(questions.records) == 9673
    assert len({record["image"] for record in questions.records}) == 1000
    assert [record["question_id"] for record in questions.records] == list(range(9673))
    assert questions.n_left_out == 0
    assert questions.origin == "package easy-vqa 1.0"
    first = questions.records[0]
    assert (first["question"], first["answers"]) == ("what is the red shape?", ["triangle"])
    assert {(r["question_type"], r["answer_type"]) for r in questions.records} == {("", "")}
    assert Path(first["image"]).name == f"{first['image_id']}.png"


def test_easy_vqa_with_an_image_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(easy_vqa, "get_test_image_paths", lambda: {0: "0.png"})
    with pytest.raises(DataError, match=r"easy-vqa is incomplete: KeyError\(1\).*pip install"):
        load_easy_vqa()
