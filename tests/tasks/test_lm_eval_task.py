"""The tasks inside lm-eval: its own TaskManager and evaluator, and the same tasks in lmms-eval."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from lm_eval.api.model import LM
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager

from moe_eval_plugin.tasks import tasks_path
from tests.tasks.data_sets import OKVQA_ANNOTATIONS, as_on_the_hub
from tests.vqa.vqa_files import cut_off, edit_json, given

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

NAMES = {"easy_vqa", "okvqa", "okvqa_raw", "vqa_v2_val", "vqa_v2_test_dev", "vqa_v2_test"}
PROMPT = "\nAnswer the question using a single word or phrase."
ANSWER = " Red."

pytestmark = [
    # The host and what it imports use things that are about to change in Python and in libraries.
    pytest.mark.filterwarnings("default"),
]


class Scripted(LM):  # type: ignore[misc]  # the host has no types
    """A multimodal model of the host that opens each image and gives one answer."""

    MULTIMODAL = True

    def __init__(self, answer: str = ANSWER, *, is_shown_images: bool = True) -> None:
        super().__init__()
        self.is_shown_images = is_shown_images
        self.answer = answer
        self.images: list[Image.Image] = []

    def generate_until(self, requests: list[Any]) -> list[str]:
        for request in requests if self.is_shown_images else ():
            self.images += list(request.args[2]["visual"])
        return [self.answer] * len(requests)

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any]) -> list[Any]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def task_manager() -> Any:
    return TaskManager(include_path=str(tasks_path("lm-eval")), include_defaults=False)


@pytest.fixture
def load(task_manager: Any) -> Callable[..., Any]:
    """Load one task as the host does."""

    def load_one(name: str) -> Any:
        return task_manager.load([name])["tasks"][name]

    return load_one


def manager_of(folder: Path, **settings: Any) -> Any:
    """A manager with a task ``mine``, whose file includes that of okvqa, as a user would do it."""
    definition = {"include": str(tasks_path("lm-eval") / "okvqa.yaml"), "task": "mine", **settings}
    text = re.sub(r"'(!function .*)'", r"\1", yaml.safe_dump(definition))
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return TaskManager(include_path=str(folder), include_defaults=False)


def evaluate(task_manager: Any, task: str, model: Any, **options: Any) -> dict[str, Any]:
    results: dict[str, Any] = simple_evaluate(
        model=model, tasks=[task], task_manager=task_manager, **{"bootstrap_iters": 0, **options}
    )
    return results


def test_every_task_is_indexed(task_manager: Any) -> None:
    assert set(task_manager.all_tasks) == {*NAMES, "moe_vqa", "flame_moe"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_task_asks_and_scores_as_in_lmms_eval(
    official: Path, load: Callable[..., Any], name: str
) -> None:
    from lmms_eval.tasks import TaskManager as OtherManager
    from lmms_eval.tasks import get_task_dict

    assert official.is_dir()
    other_manager = OtherManager(include_path=str(tasks_path()), include_defaults=False)
    other = get_task_dict([name], other_manager, "chat")[name]
    task = load(name)
    assert len(task.eval_docs) == len(other.eval_docs)
    for doc, other_doc in zip(list(task.eval_docs.select(range(3))), other.eval_docs, strict=False):
        (message,) = other.doc_to_messages(other_doc)
        image, text = message["content"]
        assert task.doc_to_text(doc) == f"<image>{text['text']}"
        assert list(task.doc_to_image(doc)) == [image["url"]]
        assert task.doc_to_target(doc) == other.doc_to_target(other_doc)
        scores, others = (
            one.process_results(row, [ANSWER]) for one, row in ((task, doc), (other, other_doc))
        )
        assert dict(scores) == dict(others)
        assert list(scores.items()) == list(others.items())
    asked, others_asked = task.config.generation_kwargs, other.config.generation_kwargs
    assert asked["until"] == others_asked["until"]
    assert asked["max_gen_toks"] == others_asked["max_new_tokens"]
    assert (asked["do_sample"], others_asked["do_sample"]) == (False, False)
    facts = {key: value for key, value in task.config.metadata.items() if key != "config_source"}
    assert facts == other.config.metadata
    assert task.higher_is_better() == other.higher_is_better()


def test_images_are_opened_when_they_are_asked_for(
    official: Path, load: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    (photo, *_) = sorted((official / "val2014").iterdir())
    cut_off(photo)
    task = load("okvqa")
    task.build_all_requests()
    broken, whole, _ = (instance.args[2]["visual"] for instance in task.instances)
    assert [image.mode for image in whole[:9]] == ["RGB"]
    assert (len(whole), whole[0].size) == (1, (96, 64))
    with pytest.raises(SystemExit) as ended:
        list(broken)
    assert ended.value.code == 2
    assert f"{photo.name}, the image of question 71, cannot be read" in capfd.readouterr().err


def test_an_evaluation_has_scores_by_type_and_samples_without_images(
    official: Path, task_manager: Any
) -> None:
    model = Scripted("blue")

    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation.update(question_type="how many", answer_type="number")

    edit_json(official / "v2_mscoco_val2014_annotations.json", change)
    results = evaluate(task_manager, "vqa_v2_val", model)
    assert [image.size for image in model.images] == [(96, 64)] * 3
    rows = results["results"]["vqa_v2_val"]
    assert rows["vqa_accuracy,none"] == pytest.approx(0.6)
    assert rows["vqa_accuracy_official_number,none"] == pytest.approx(0.6)
    assert results["n-samples"]["vqa_v2_val"] == {"original": 3, "effective": 3}
    by_type = results["moe_eval_scores"]["vqa_v2_val"]
    assert by_type["answer_types"]["number"]["n"] == 3
    assert not [name for name in rows if name.startswith("moe_eval_scores")]
    (first, *_) = results["samples"]["vqa_v2_val"]
    assert (first["question_id"], first["answer_type"]) == (71, "number")
    assert "image" not in first["doc"]
    assert json.dumps(first["arguments"], default=str).endswith(
        '{"visual": "image of question 71"}]]'
    )


def test_a_group_is_the_mean_of_its_tasks(official: Path, task_manager: Any) -> None:
    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation["answers"] = given(["blue"] * 10)

    edit_json(official / OKVQA_ANNOTATIONS, change)
    results = evaluate(task_manager, "moe_vqa", Scripted("blue"))
    assert results["results"]["okvqa"]["vqa_accuracy,none"] == 1
    assert results["results"]["moe_vqa"]["vqa_accuracy,none"] == pytest.approx((1 + 0.6) / 2)


def test_a_test_split_has_answers_and_no_accuracy(official: Path, task_manager: Any) -> None:
    assert official.is_dir()
    results = evaluate(task_manager, "vqa_v2_test_dev", Scripted(" two dogs"))
    assert results["results"]["vqa_v2_test_dev"]["n_answered,none"] == 3
    submission = results["samples"]["vqa_v2_test_dev"][2]["submission"]
    assert submission == {"question_id": 91, "answer": "two dogs"}


def test_predictions_alone_can_be_asked_for(official: Path, task_manager: Any) -> None:
    assert official.is_dir()
    results = evaluate(task_manager, "okvqa", Scripted(), predict_only=True)
    assert [sample["filtered_resps"] for sample in results["samples"]["okvqa"]] == [[ANSWER]] * 3


def test_few_shot_examples_are_left_out(official: Path, task_manager: Any) -> None:
    assert official.is_dir()
    results = evaluate(task_manager, "okvqa", Scripted(), num_fewshot=2)
    assert results["n-shot"]["okvqa"] == 0
    text = results["samples"]["okvqa"][0]["arguments"][0][0]
    assert text == f"<image>What colour is no. 7?{PROMPT}"


def test_a_task_of_a_user_may_choose_questions(official: Path, tmp_path: Path) -> None:
    assert official.is_dir()
    (tmp_path / "chosen.py").write_text("def two(rows):\n    return rows.select([2, 0])\n")
    manager = manager_of(tmp_path, process_docs="!function chosen.two")
    task = manager.load(["mine"])["tasks"]["mine"]
    assert [doc["question_id"] for doc in task.eval_docs] == [91, 71]
    assert repr(task.doc_to_image(task.eval_docs[0])) == "image of question 91"
    assert next(iter(task.doc_to_image(task.eval_docs[0]))).size == (96, 64)


def test_documents_of_the_hub_have_no_image_either(tmp_path: Path) -> None:
    path = as_on_the_hub(tmp_path, "question_id", "question", "image", "answers")
    model = Scripted()
    results = evaluate(manager_of(tmp_path, dataset_path=path), "mine", model)
    assert [(image.mode, image.size) for image in model.images] == [("RGB", (8, 6))]
    assert results["configs"]["mine"]["metadata"]["origin"] == f"hub: {path}"
    assert "bytes" not in json.dumps(results["samples"]["mine"], default=str)


def test_a_task_of_a_user_may_have_our_scores_on_other_data(tmp_path: Path) -> None:
    rows = [{"question": "What?", "answers": ["red"] * 2 + ["a red"] * 8}]
    (tmp_path / "rows.json").write_text(json.dumps(rows), "utf-8")
    means = {"aggregation": "mean", "higher_is_better": True}
    definition = {
        "task": "mine",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.json")}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answers[0]}}",
        "process_results": "!function moe_eval_plugin.tasks.vqa.vqa_scores",
        "metric_list": [
            {"metric": name, **means} for name in ("vqa_accuracy", "vqa_accuracy_official")
        ],
    }
    text = re.sub(r"'(!function .*)'", r"\1", yaml.safe_dump(definition))
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    results = evaluate(manager, "mine", Scripted(is_shown_images=False))
    rows_of_task = results["results"]["mine"]
    assert rows_of_task["vqa_accuracy,none"] == pytest.approx(1.0)
    assert rows_of_task["vqa_accuracy_official,none"] == pytest.approx(1.0)


def test_without_data_the_process_ends_with_one_message(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MOE_EVAL_DATA", raising=False)
    with pytest.raises(SystemExit) as ended:
        load("vqa_v2_val")
    assert ended.value.code == 2
    message = capfd.readouterr().err
    assert "vqa_v2_val needs the data set lmms-lab/VQAv2" in message
    assert "Set MOE_EVAL_DATA to a folder that holds v2_OpenEnded_mscoco_val2014" in message
    assert "Traceback" not in message


def test_left_out_questions_are_told_and_recorded(
    official: Path, load: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    (official / "val2014" / "COCO_val2014_000000000009.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        task = load("okvqa")
    assert "okvqa: 2 of 3 questions are used; 1 were left out because their" in caplog.text
    assert task.config.metadata["n_left_out"] == 1


def test_an_unknown_scoring_mode_ends_the_process(
    official: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert official.is_dir()
    metadata = {"version": 1.0, "scoring": {"vqa_accuracy": "vqa"}}
    with pytest.raises(SystemExit) as ended:
        manager_of(tmp_path, metadata=metadata).load(["mine"])
    assert ended.value.code == 2
    assert "There is no scoring mode 'vqa'" in capfd.readouterr().err


def test_a_model_of_ours_for_text_alone_is_told_which_one_to_use(
    official: Path, task_manager: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert official.is_dir()
    model = Scripted()
    model.MULTIMODAL = False
    model.moe_eval_records = {}
    with pytest.raises(SystemExit) as ended:
        evaluate(task_manager, "moe_vqa", model)
    assert ended.value.code == 2
    message = capfd.readouterr().err
    assert "okvqa, vqa_v2_val: these questions have images, and Scripted is for text" in message
    assert "--model moe_hf-multimodal" in message
