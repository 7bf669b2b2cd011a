from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from moe_eval_plugin.results.compare.text import changes_csv, changes_json, render
from tests.results.compare.compared_runs import compare, compare_files, sample
from tests.results.run_files import write_run

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table_says_what_was_found(tmp_path: Path) -> None:
    a = [sample(number) for number in range(100)]
    b = [sample(number, *(("blue", 0.0) if number < 5 else ())) for number in range(100)]
    first = write_run(tmp_path / "a", {"okvqa": a})
    second = write_run(tmp_path / "b", {"okvqa": b})

    text = render(compare_files(first, second, margin=0.01))

    assert text.startswith(f"A  {first}\nB  {second}\n")
    assert "okvqa: 100 questions, equal answers 95.00%" in text
    (row,) = [line.split() for line in text.splitlines() if line.startswith("vqa_accuracy  ")]
    assert row[:4] == ["vqa_accuracy", "100.00%", "95.00%", "\N{MINUS SIGN}5.00"]
    assert row[-3:] == ["95.0%", "0", "5"]
    assert "interval resampled over 50 images" in text
    assert "Too few questions to tell whether vqa_accuracy is within 1 point of A" in text
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
