"""A real run of real questions is exported, and the file is read back as a challenge would."""

from __future__ import annotations

import json
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.programs import lmms_eval, moe_eval
from tests.vqa.vqa_files import write_json

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS = "v2_mscoco_val2014_annotations.json"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def data(tmp_path: Path, vqa_data: Path) -> Path:
    """A folder whose VQAv2 files hold just the questions whose image is there."""
    wanted = set(read(vqa_data / "with_images.json")["vqav2"])
    folder = tmp_path / "data"
    folder.mkdir()
    for name, key in ((QUESTIONS, "questions"), (ANNOTATIONS, "annotations")):
        content = read(vqa_data / "vqav2" / name)
        content[key] = [entry for entry in content[key] if entry["question_id"] in wanted]
        write_json(folder / name, content)
    (folder / "images").symlink_to(vqa_data / "images", target_is_directory=True)
    return folder


def official_accuracy(answer: str, people: list[str]) -> float:
    """The formula of the challenge's page; the answers of the small model need no processing."""
    others = [people[:left_out] + people[left_out + 1 :] for left_out in range(len(people))]
    return fmean(min(nine.count(answer) / 3, 1) for nine in others)


def test_the_answers_of_a_run_become_a_submission(
    tmp_path: Path, data: Path, vqa_data: Path
) -> None:
    out = tmp_path / "out"
    done = lmms_eval(
        *("--model", "moe_hf", "--model_args", "pretrained=demo,experts_k=4"),
        *("--tasks", "vqa_v2_val", "--batch_size", 16, "--log_samples", "--output_path", out),
        MOE_EVAL_DATA=data,
    )
    assert list(out.rglob("2*_results.json")), done.stdout[-3000:] + done.stderr[-3000:]

    refused = moe_eval(
        *("export", "--format", "evalai", out, "--list-missing"), MOE_EVAL_DATA=vqa_data
    )
    assert refused.returncode == 2
    assert "467 questions have no answer" in refused.stderr
    assert len(refused.stdout.splitlines()) == 589 - 122
    assert not list(out.rglob("v2_*"))

    written = moe_eval("export", "--format", "evalai", out, MOE_EVAL_DATA=data)
    assert written.returncode == 0, written.stderr
    (file,) = out.rglob("v2_*")
    assert file.name == "v2_OpenEnded_mscoco_val2014_demo-k4_results.json"
    assert f"wrote {file}\n" in written.stdout
    results = json.loads(file.read_bytes().decode("ascii"))
    assert isinstance(results, list)
    assert all(set(result) == {"question_id", "answer"} for result in results)
    assert all(type(result["question_id"]) is int for result in results)
    assert all(isinstance(result["answer"], str) and result["answer"] for result in results)
    people = {
        entry["question_id"]: [one["answer"] for one in entry["answers"]]
        for entry in read(data / ANNOTATIONS)["annotations"]
    }
    assert len(results) == 122
    assert {result["question_id"] for result in results} == people.keys()
    score = fmean(official_accuracy(one["answer"], people[one["question_id"]]) for one in results)
    assert f"overall {100 * score:.2f}" in written.stdout
