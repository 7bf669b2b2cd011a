"""Long lists in JSON files: what is read of good ones, what is said of bad ones, and memory."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.vqa.json_entries import PIECE_BYTES, EntryReader, read_value
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from tests.vqa.vqa_files import write_json

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "data_subtype": "val2014",
    "questions": [{"question": "Caf\u00e9?"}, {"n": [1, 2.5, None]}],
}
TEXT = json.dumps(SMALL, ensure_ascii=False)

# Loads a file, and says by how many MB that raised the peak of the memory.
LOAD = """
import re, sys
from pathlib import Path
from moe_eval_plugin.vqa.official_data import load_official

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000

load_official("okvqa", Path(sys.argv[1]))
before = peak()
print(len(load_official("okvqa", Path(sys.argv[2])).records), peak() - before)
"""

# Each example writes its file anew, and a busy machine takes its time.
steady = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Whole numbers of more than 64 bits are refused.
values = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**63, 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "questions.json"


def read(path: Path) -> list[dict[str, Any]]:
    return list(EntryReader(path, "questions"))


def fails(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value)


def test_entries_hash_and_progress(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-8")
    pieces: list[int] = []
    reader = EntryReader(path, "questions", pieces.append)
    assert list(reader) == SMALL["questions"]
    assert reader.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(pieces) == path.stat().st_size


@steady
@given(st.lists(st.dictionaries(st.text(), values), min_size=1), st.dictionaries(st.text(), values))
def test_any_entries_come_back_as_written(
    path: Path, entries: list[dict[str, Any]], header: dict[str, Any]
) -> None:
    write_json(path, {**header, "questions": entries})
    assert read(path) == entries


def test_a_character_on_the_border_of_two_pieces(path: Path) -> None:
    for n in range(4):
        filling = "x" * (PIECE_BYTES - len('{"questions": [{"q": "') - n)
        entries = [{"q": f"{filling}\U0001f600 caf\u00e9"}, {"q": "y" * PIECE_BYTES}]
        path.write_text(json.dumps({"questions": entries}, ensure_ascii=False), encoding="utf-8")
        assert read(path) == entries


def test_a_byte_order_mark_is_no_part_of_the_text(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-8-sig")
    reader = EntryReader(path, "questions")
    assert list(reader) == SMALL["questions"]
    assert reader.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (TEXT.encode("latin-1"), "the byte 0xe9 at offset 59"),
        (TEXT.encode("utf-16"), "the byte 0xff at offset 0"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "the byte 0xfe at offset 0"),
        (json.dumps(SMALL).encode("utf-16-le"), "it begins like UTF-16"),
        (json.dumps(SMALL).encode("utf-16-be"), "it begins like UTF-16"),
        (b"\x1f\x8b\x08" + TEXT.encode(), "the byte 0x8b at offset 1"),
    ],
)
def test_another_encoding_is_refused(path: Path, content: bytes, fault: str) -> None:
    path.write_bytes(content)
    message = fails(path)
    assert message.startswith(f"{path} is not UTF-8 text: {fault}. ")
    assert "unpack it" in message


@pytest.mark.parametrize("n_before", [0, 3 * PIECE_BYTES])
def test_the_place_of_a_wrong_byte_is_that_in_the_file(path: Path, n_before: int) -> None:
    before = b'{"questions": [{"q": "' + b"x" * n_before
    path.write_bytes(before + b'\xe9"}]}')
    assert f"the byte 0xe9 at offset {len(before):,}." in fails(path)


def test_a_file_that_is_cut_off_anywhere_is_refused(path: Path) -> None:
    content = TEXT.encode()
    for n_bytes in range(len(content)):
        path.write_bytes(content[:n_bytes])
        said = rf"not complete JSON: (parse|lexical) error: [\w ,]+\. It has {n_bytes} bytes; it"
        assert re.search(said, fails(path))


@pytest.mark.parametrize("between", ["", " "])
def test_a_fault_behind_text_of_long_characters(path: Path, between: str) -> None:
    # The parser shows a part of the text that may begin within a character.
    text = "\u00e9" * 100
    path.write_text(f'{{"questions": [{{"q": "{text}"{between}nonsense', encoding="utf-8")
    assert "is not complete JSON: lexical error: invalid" in fails(path)


def test_several_values_in_one_file_are_refused(path: Path) -> None:
    path.write_text('{"question_id": 1}\n{"question_id": 2}\n')
    assert "trailing garbage. It has 38 bytes; it may be truncated, or" in fails(path)


@pytest.mark.parametrize(
    ("content", "outline"),
    [
        ([1, 2], "This file is a list."),
        (7, "This file is a single value."),
        ([{"question_id": 1, "answer": "a"}], "a list of objects with the keys question_id, ans"),
        ({"annotations": [1], "info": {"a": 1}}, "an object with the keys annotations, info"),
        ({}, "an object with the keys (none)"),
        ({"questions": {}}, "an object with the keys questions"),
        ({"questions": []}, "one or more"),
        ({"questions": [7]}, "of one or more objects. This file is an object"),
        ({"questions": None}, "of one or more objects. This file is an object"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_of_another_form_is_refused(
    path: Path, content: object, outline: str, encoding: str
) -> None:
    path.write_text(json.dumps(content), encoding=encoding)
    message = fails(path)
    assert message.startswith(f"{path} has an unexpected form")
    assert outline in message


def test_what_stands_beside_the_list_can_be_read(path: Path) -> None:
    write_json(path, SMALL)
    assert read_value(path, "data_subtype") == "val2014"
    assert read_value(path, "absent") is None
    path.write_text(path.read_text()[:-1])
    assert read_value(path, "data_subtype") == "val2014"
    with pytest.raises(DataError, match="not complete JSON"):
        read_value(path, "absent")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    n_questions = 20_000
    for name, size in (("small", 10), ("large", n_questions)):
        write_long_questions(tmp_path / name, size)
    assert (tmp_path / "large" / OFFICIAL_FILES["okvqa"].questions).stat().st_size > 40e6
    command = [sys.executable, "-c", LOAD, str(tmp_path / "small"), str(tmp_path / "large")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    n_records, grown_mb = run.stdout.split()
    assert n_records == "1"
    assert float(grown_mb) < 30


def write_long_questions(folder: Path, n_questions: int) -> None:
    """Write questions of 2 kB, of which the first has an image, and an answer to each."""
    files = OFFICIAL_FILES["okvqa"]
    (folder / files.image_folder).mkdir(parents=True)
    (folder / files.image_folder / files.image_name.format(0)).touch()
    questions = [
        {"question_id": i, "image_id": i, "question": f"What is {i}? {'x' * 2000}"}
        for i in range(n_questions)
    ]
    answers = [{"answer": "red"}] * 10
    annotations = [{"question_id": i, "answers": answers} for i in range(n_questions)]
    write_json(folder / files.questions, {"questions": questions})
    write_json(folder / str(files.annotations), {"annotations": annotations})
