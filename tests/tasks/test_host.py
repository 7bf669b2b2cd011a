"""The tasks inside lmms-eval: its own TaskManager, evaluator, baseline reader and command line."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import datasets
import pytest
from PIL import Image

from moe_eval_plugin.official import load_official
from moe_eval_plugin.tasks import tasks_path
from tests.vqa_files import ANSWERS, cut_off, edit_json, write_official

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = {"easy_vqa", "okvqa", "vqa_v2_val", "vqa_v2_test_dev", "vqa_v2_test", "moe_vqa"}
PROMPT = "\nAnswer the question using a single word or phrase."

pytestmark = [
    # The host and what it imports use things that are about to change in Python and in libraries.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds a small official data set of every split, named by MOE_EVAL_DATA."""
    for name in ("okvqa", "vqa_v2_val", "vqa_v2_test_dev", "vqa_v2_test"):
        write_official(tmp_path, name)
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def task_manager() -> Any:
    from lmms_eval.tasks import TaskManager

    return TaskManager(include_path=str(tasks_path()), include_defaults=False)


@pytest.fixture
def load(task_manager: Any) -> Callable[..., Any]:
    """Load one task as the host does."""
    from lmms_eval.tasks import get_task_dict

    def load_one(name: str) -> Any:
        return get_task_dict([name], task_manager, "chat")[name]

    return load_one


def scripted_model(answer: str) -> Any:
    """A chat model of the host that opens each image, keeps each prompt, and gives one answer."""
    from lmms_eval.api.model import lmms

    class Scripted(lmms):  # type: ignore[misc]
        is_simple = False
        prompts: ClassVar[list[Any]] = []

        def generate_until(self, requests: list[Any]) -> list[str]:
            for request in requests:
                _, doc_to_messages, _, doc_id, task, split = request.args
                self.prompts.append(doc_to_messages(self.task_dict[task][split][doc_id]))
            return [answer] * len(requests)

        def loglikelihood(self, requests: list[Any]) -> list[Any]:
            raise NotImplementedError

        def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
            raise NotImplementedError

    return Scripted()


def evaluate(task_manager: Any, task: str, model: Any, **options: Any) -> dict[str, Any]:
    from lmms_eval.evaluator import simple_evaluate

    results: dict[str, Any] = simple_evaluate(
        model=model, tasks=[task], task_manager=task_manager, bootstrap_iters=0, **options
    )
    return results


def test_every_task_is_indexed_without_importing_what_it_names() -> None:
    code = (
        "import sys; from lmms_eval.tasks import TaskManager; "
        f"manager = TaskManager(include_path={str(tasks_path())!r}, include_defaults=False); "
        "print(sorted(manager.all_tasks)); "
        "print([m for m in sys.modules if m in ('moe_eval_plugin.tasks.task', 'easy_vqa')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(sorted(NAMES)), "[]"]


@pytest.mark.parametrize("name", sorted(NAMES - {"easy_vqa", "moe_vqa"}))
def test_a_task_from_official_files(official: Path, load: Callable[..., Any], name: str) -> None:
    task = load(name)
    doc = task.eval_docs[0]
    assert len(task.eval_docs) == 3
    assert doc["image"]["path"].startswith(str(official))
    assert "image" not in task.eval_docs_no_media.features
    (message,) = task.doc_to_messages(doc)
    image, text = message["content"]
    assert image["url"].size == (96, 64)
    assert text["text"] == f"What colour is no. 7?{PROMPT}"
    assert task.config.task == name
    assert task.config.generation_kwargs["max_new_tokens"] == 16
    assert task.config.metadata["n_questions"] == 3
    assert task.config.metadata["n_left_out"] == 0


def test_easy_vqa_needs_no_folder(load: Callable[..., Any]) -> None:
    task = load("easy_vqa")
    assert len(task.eval_docs) == 9673
    (image,) = task.doc_to_visual(task.eval_docs[9672])
    assert (image.mode, image.size) == ("RGB", (64, 64))
    assert task.doc_to_text(task.eval_docs[0]) == f"what is the red shape?{PROMPT}"
    assert dict(task.process_results(task.eval_docs[0], ["Triangle. "]))["exact_match"] == 1.0


def test_the_group_holds_both_tasks(official: Path, task_manager: Any) -> None:
    from lmms_eval.tasks import get_task_dict

    assert official.is_dir()
    ((group, tasks),) = get_task_dict(["moe_vqa"], task_manager, "chat").items()
    assert group.group_name == "moe_vqa"
    assert sorted(tasks) == ["okvqa", "vqa_v2_val"]
    assert [tasks[name].config.task for name in sorted(tasks)] == ["okvqa", "vqa_v2_val"]


def test_images_are_not_opened_while_loading(official: Path, load: Callable[..., Any]) -> None:
    for image in (official / "val2014").iterdir():
        image.write_bytes(b"")
    assert len(load("okvqa").eval_docs) == 3


def test_left_out_questions_are_told_and_recorded(
    official: Path, load: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    (official / "val2014" / "COCO_val2014_000000000009.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        task = load("okvqa")
    (message,) = [record.message for record in caplog.records if record.name.endswith("tasks.task")]
    assert message.startswith("okvqa: 2 of 3 questions are used; 1 were left out because their")
    assert str(official / "val2014") in message
    assert task.config.metadata["n_left_out"] == 1
    assert task.config.metadata["left_out_because"] == f"their image is not in {official}/val2014"


def test_the_real_data(
    vqa_data: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[..., Any]
) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(vqa_data))
    for name, n_questions in (("okvqa", 26), ("vqa_v2_val", 122)):
        task = load(name)
        assert len(task.eval_docs) == n_questions
        for doc in task.eval_docs:
            assert task.doc_to_visual(doc)[0].mode == "RGB"


def test_an_evaluation_gives_clean_results_and_full_samples(
    official: Path,
    task_manager: Any,
) -> None:
    assert official.is_dir()
    model = scripted_model("blue")
    results = evaluate(task_manager, "okvqa", model)
    assert results["results"]["okvqa"]["vqa_accuracy,none"] == pytest.approx(0.6)
    metrics = {key.split(",")[0] for key in results["results"]["okvqa"] if "stderr" not in key}
    assert metrics - {"alias", "samples"} == {"vqa_accuracy"}
    assert results["configs"]["okvqa"]["metadata"]["scoring"] == "lmms-vqav2"
    assert len(results["configs"]["okvqa"]["metadata"]["sha256"]) == 2
    assert [sample["question_id"] for sample in results["samples"]["okvqa"]] == [71, 81, 91]
    assert [sample["score"] for sample in results["samples"]["okvqa"]] == pytest.approx([0.6] * 3)
    assert model.prompts[0][0]["content"][1]["text"].endswith(PROMPT)


def test_a_test_split_has_answers_and_no_accuracy(
    official: Path,
    task_manager: Any,
) -> None:
    assert official.is_dir()
    results = evaluate(task_manager, "vqa_v2_test_dev", scripted_model(" two dogs"))
    row = results["results"]["vqa_v2_test_dev"]
    assert row["n_answered,none"] == 3
    assert {value for key, value in row.items() if "stderr" in key} == {"N/A"}
    assert results["samples"]["vqa_v2_test_dev"][2]["submission"] == {
        "question_id": 91,
        "answer": "two dogs",
    }


def test_the_paired_comparison_with_a_baseline(
    official: Path,
    task_manager: Any,
    tmp_path: Path,
) -> None:
    edit_json(
        official / "mscoco_val2014_annotations.json",
        lambda content: content["annotations"][0]["answers"][0].update(answer="blue"),
    )
    before = evaluate(task_manager, "okvqa", scripted_model("blue"))["samples"]["okvqa"]
    saved = [
        {key: value for key, value in sample.items() if key not in ("doc", "arguments")}
        for sample in before
    ]
    baseline = tmp_path / "date_samples_okvqa.jsonl"
    baseline.write_text("\n".join(json.dumps(sample) for sample in saved), encoding="utf-8")
    results = evaluate(task_manager, "okvqa", scripted_model("red"), baseline=str(baseline))
    row = results["results"]["okvqa"]
    assert row["paired_baseline_score"] == pytest.approx(100 * (0.9 + 0.6 + 0.6) / 3)
    assert row["vqa_accuracy,none"] == pytest.approx(1.0)
    assert row["paired_ci_upper"] > 0


def test_a_simple_model_gets_its_own_form_of_request(
    official: Path, load: Callable[..., Any]
) -> None:
    assert official.is_dir()
    task = load("okvqa")
    for model, second in (("dummy", dict), (None, type(task.doc_to_messages))):
        task.args = argparse.Namespace(model=model, force_simple=False) if model else None
        task.build_all_requests(limit=1)
        (request,) = task.instances
        assert type(request.args[1]) is second
        assert request.args[0] == f"What colour is no. 7?{PROMPT}"


def test_predictions_alone_can_be_asked_for(
    official: Path,
    task_manager: Any,
) -> None:
    assert official.is_dir()
    results = evaluate(task_manager, "okvqa", scripted_model("blue"), predict_only=True)
    assert len(results["samples"]["okvqa"]) == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: [p.unlink() for p in (folder / "val2014").iterdir()], "have no image in"),
        (lambda folder: cut_off(folder / "mscoco_val2014_annotations.json"), "not complete JSON"),
    ],
)
def test_bad_data_ends_the_process_with_one_message(
    official: Path,
    load: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    said: str,
) -> None:
    damage(official)
    with pytest.raises(SystemExit) as ended:
        load("okvqa")
    assert ended.value.code == 2
    message = capfd.readouterr().err.split("error: ", 1)[1]
    assert said in message
    assert "Traceback" not in message


def test_loading_is_tried_once(
    official: Path, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from moe_eval_plugin.tasks import task

    (official / "mscoco_val2014_annotations.json").unlink()
    calls = []

    def counted(name: str, folder: Path, *, strict: bool) -> object:
        calls.append(name)
        return load_official(name, folder, strict=strict)

    monkeypatch.setattr(task, "load_official", counted)
    with pytest.raises(SystemExit):
        load("okvqa")
    assert calls == ["okvqa"]


def test_an_unknown_scoring_mode_ends_the_process(
    official: Path,
    task_manager: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from moe_eval_plugin.tasks.task import VQATask

    assert official.is_dir()
    config = task_manager._get_config("okvqa")
    config["metadata"]["scoring"] = "vqa"
    with pytest.raises(SystemExit) as ended:
        VQATask(config=config)
    assert ended.value.code == 2
    assert "There is no scoring mode 'vqa'" in capfd.readouterr().err


def test_without_a_folder_and_without_the_hub(
    load: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MOE_EVAL_DATA", raising=False)
    before = datasets.config.HF_HUB_OFFLINE
    with pytest.raises(SystemExit) as ended:
        load("vqa_v2_val")
    assert ended.value.code == 2
    assert before == datasets.config.HF_HUB_OFFLINE
    message = capfd.readouterr().err
    assert "vqa_v2_val needs the data set lmms-lab/VQAv2" in message
    assert "Set MOE_EVAL_DATA to a folder that holds v2_OpenEnded_mscoco_val2014" in message


def as_on_the_hub(folder: Path, *columns: str) -> str:
    """Write a data set of one question in the form of the hub's, and return its path."""
    rows = {
        "question_id": ["71"],
        "question": ["What colour?"],
        "image": [Image.new("L", (8, 6))],
        "answers": [[{"answer": text} for text in ANSWERS]],
    }
    features = datasets.Features(
        {
            "question_id": datasets.Value("string"),
            "question": datasets.Value("string"),
            "image": datasets.Image(),
            "answers": [{"answer": datasets.Value("string")}],
        }
    )
    dataset = datasets.Dataset.from_dict(rows, features=features).select_columns(list(columns))
    (folder / "hub" / "data").mkdir(parents=True)
    dataset.to_parquet(folder / "hub" / "data" / "val2014-00000-of-00001.parquet")
    return str(folder / "hub")


def test_documents_in_the_form_of_the_hub(
    task_manager: Any,
    tmp_path: Path,
) -> None:
    from moe_eval_plugin.tasks.task import VQATask

    path = as_on_the_hub(tmp_path, "question_id", "question", "image", "answers")
    task = VQATask(config=task_manager._get_config("okvqa") | {"dataset_path": path})
    doc = task.eval_docs[0]
    assert [image.mode for image in task.doc_to_visual(doc)] == ["RGB"]
    assert "image" not in task.eval_docs_no_media.features
    assert task.process_results(doc, ["Blue"])["vqa_accuracy"] == pytest.approx(0.6)
    assert task.process_results(doc, ["Blue"])["question_id"] == "71"
    assert task.config.metadata["origin"] == f"hub: {path}"


def test_a_data_set_without_a_needed_column(
    task_manager: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from moe_eval_plugin.tasks.task import VQATask

    path = as_on_the_hub(tmp_path, "question", "image", "answers")
    with pytest.raises(SystemExit) as ended:
        VQATask(config=task_manager._get_config("okvqa") | {"dataset_path": path})
    assert ended.value.code == 2
    assert f"{path} has no column question_id; it has question, image" in capfd.readouterr().err


def test_a_cut_off_photo_ends_the_command_with_2(official: Path) -> None:
    cut_off(official / "val2014" / "COCO_val2014_000000000008.jpg")
    command = [sys.executable, "-m", "lmms_eval", "--model", "dummy", "--tasks", "okvqa"]
    options = ["--model_args", "read_bytes=1", "--include_path", str(tasks_path())]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    message = done.stderr.split("error: ", 1)[1]
    assert "COCO_val2014_000000000008.jpg, the image of question 81, cannot be read" in message
    assert "Traceback" not in done.stderr
