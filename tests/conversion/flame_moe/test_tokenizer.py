"""Files of a tokenizer are copied if its vocabulary fits the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe
from moe_eval_plugin.conversion.flame_moe.tokenizer import read_tokenizer
from moe_eval_plugin.conversion.options import ConversionOptions
from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from pathlib import Path


def tokenizer(folder: Path, size: int, end: object = "<end>") -> Path:
    folder.mkdir()
    words = {"<end>": 3, **{f"w{n}": n for n in range(size) if n != 3}}
    Tokenizer(WordLevel(words)).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))
    (folder / "code.py").write_text("raise SystemExit")
    return folder


@pytest.mark.parametrize("end", ["<end>", {"content": "<end>", "special": True}])
def test_the_files_are_copied_and_the_end_of_a_text_is_theirs(
    run: Path, tmp_path: Path, end: object
) -> None:
    folder, output = tokenizer(tmp_path / "words", 90, end), tmp_path / "model"
    summary = convert_flame_moe(run, output, ConversionOptions(tokenizer=folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (output / name).read_bytes() == (folder / name).read_bytes()
    assert not (output / "code.py").exists()
    for name in ("config.json", "generation_config.json"):
        assert json.loads((output / name).read_text())["eos_token_id"] == 3
    assert not any("tokenizer" in note for note in summary.notes)


def test_without_a_tokenizer_it_is_said_how_to_get_one(run: Path, tmp_path: Path) -> None:
    summary = convert_flame_moe(run, tmp_path / "model", ConversionOptions())
    assert any("EleutherAI/pythia-12b" in note for note in summary.notes)


def test_a_vocabulary_that_is_larger_than_the_model_is_refused(run: Path, tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "words", 97)
    with pytest.raises(InvalidArgumentError, match="ids up to 96, and the model has 96 rows"):
        convert_flame_moe(run, tmp_path / "model", ConversionOptions(tokenizer=folder))
    assert not (tmp_path / "model").exists()


def test_a_vocabulary_that_padding_does_not_explain_is_noted(tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "words", 90)
    (note,) = read_tokenizer(folder, 90 + 1024).notes
    assert "90 entries, and the model 1,114 rows" in note
    assert read_tokenizer(folder, 90 + 1023).notes == ()


def test_a_folder_without_a_tokenizer_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"has no tokenizer\.json"):
        convert_flame_moe(run, tmp_path / "model", ConversionOptions(tokenizer=tmp_path))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_broken_file_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    folder = tokenizer(tmp_path / "words", 90)
    (folder / name).write_text("[")
    with pytest.raises(DataError, match=name):
        convert_flame_moe(run, tmp_path / "model", ConversionOptions(tokenizer=folder))
