"""The tasks inside lmms-eval: its own TaskManager, evaluator, baseline reader and command line."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from itertools import product
from math import sqrt
from statistics import stdev
from typing import TYPE_CHECKING, Any, ClassVar

import datasets
import pytest

from moe_eval_plugin.results.rows import HIGHER_IS_BETTER
from moe_eval_plugin.tasks import tasks_path
from moe_eval_plugin.vqa.official_data import load_official
from moe_eval_plugin.vqa.scores_by_type import SCORES_BY_TYPE
from tests.cli.programs import lmms_eval
from tests.tasks.data_sets import OKVQA_ANNOTATIONS, as_on_the_hub
from tests.vqa.vqa_files import ANSWERS, cut_off, edit_json, given, write_json, write_official

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = {
    "easy_vqa",
    "okvqa",
    "okvqa_raw",
    "vqa_v2_val",
    "vqa_v2_test_dev",
    "vqa_v2_test",
    "moe_vqa",
}
WORDS = ["".join(letters) for letters in product("bdfg", "aeio", "lmnp", "aeio")]
VQAV2_ANNOTATIONS = "v2_mscoco_val2014_annotations.json"
OKVQA_SCORING = {
    "vqa_accuracy": "lmms-vqav2",
    "vqa_accuracy_official": "official",
    "vqa_accuracy_official_stemmed_predictions": "official+stemmed-predictions",
}
ERRORS = ("_stderr", "_stderr_clt")
PROMPT = "\nAnswer the question using a single word or phrase."

pytestmark = [
    # The host and what it imports use things that are about to change in Python and in libraries.
    pytest.mark.filterwarnings("default"),
]


def set_types(*types: tuple[str, str]) -> Callable[[dict[str, Any]], None]:
    """Set the question and answer types of the annotations, one pair each."""

    def change(content: dict[str, Any]) -> None:
        for annotation, (question, answer) in zip(content["annotations"], types, strict=True):
            annotation.update(question_type=question, answer_type=answer)

    return change


def set_words(ending: str) -> Callable[[dict[str, Any]], None]:
    """Make the answers of either set 256 words that end like this."""
    text = " ".join(word + ending for word in WORDS)

    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation["answers"] = [
                {**one, "raw_answer": text} for one in given([text] * len(ANSWERS))
            ]

    return change


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

    options = {"bootstrap_iters": 0, **options}
    results: dict[str, Any] = simple_evaluate(
        model=model, tasks=[task], task_manager=task_manager, **options
    )
    return results


def test_every_task_is_indexed_without_importing_what_it_names() -> None:
    code = (
        "import sys; from lmms_eval.tasks import TaskManager; "
        f"manager = TaskManager(include_path={str(tasks_path())!r}, include_defaults=False); "
        "print(sorted(manager.all_tasks)); "
        "heavy = ('moe_eval_plugin.tasks.lmms_eval_task', 'easy_vqa'); "
        "print([m for m in sys.modules if m in heavy])"
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
    (message,) = [
        record.message for record in caplog.records if record.name.endswith("tasks.vqa_data")
    ]
    assert message.startswith("okvqa: 2 of 3 questions are used; 1 were left out because their")
    assert str(official / "val2014") in message
    assert task.config.metadata["n_left_out"] == 1
    assert task.config.metadata["left_out_because"] == f"their image is not in {official}/val2014"


def test_the_real_data(
    vqa_data: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[..., Any]
) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(vqa_data))
    known = (("okvqa", 26, "stemmed"), ("vqa_v2_val", 122, None))
    for name, n_questions, answer_set in known:
        task = load(name)
        assert len(task.eval_docs) == n_questions
        assert task.config.metadata.get("answer_set") == answer_set
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
    assert set(rows_of(results, "okvqa")) == set(OKVQA_SCORING)
    assert results["configs"]["okvqa"]["metadata"]["scoring"] == OKVQA_SCORING
    assert SCORES_BY_TYPE not in results
    assert len(results["configs"]["okvqa"]["metadata"]["sha256"]) == 2
    assert [sample["question_id"] for sample in results["samples"]["okvqa"]] == [71, 81, 91]
    assert [sample["score"] for sample in results["samples"]["okvqa"]] == pytest.approx([0.6] * 3)
    assert model.prompts[0][0]["content"][1]["text"].endswith(PROMPT)


NO_SCORES = {"alias", "samples", *HIGHER_IS_BETTER}


def rows_of(results: dict[str, Any], task: str) -> dict[str, Any]:
    """The scores of a task, without errors, names and the speed of the model."""
    return {
        name.removesuffix(",none"): value
        for name, value in results["results"][task].items()
        if "_stderr" not in name and name.removesuffix(",none") not in NO_SCORES
    }


def test_the_official_score_has_a_row_for_each_answer_type_that_occurs(
    official: Path,
    task_manager: Any,
) -> None:
    def change(content: dict[str, Any]) -> None:
        set_types(("how many", "number"), ("how many", "number"), ("what", "other"))(content)
        content["annotations"][1]["answers"][0]["answer"] = "blue"

    edit_json(official / VQAV2_ANNOTATIONS, change)
    options = {"bootstrap_iters": 100_000}
    results = evaluate(task_manager, "vqa_v2_val", scripted_model("blue"), **options)
    rows = rows_of(results, "vqa_v2_val")
    assert set(rows) == {
        "vqa_accuracy",
        "vqa_accuracy_official",
        "vqa_accuracy_official_number",
        "vqa_accuracy_official_other",
    }
    assert rows["vqa_accuracy_official"] == pytest.approx((0.6 + 0.9 + 0.6) / 3)
    assert rows["vqa_accuracy_official_number"] == pytest.approx((0.6 + 0.9) / 2)
    assert rows["vqa_accuracy_official_other"] == pytest.approx(0.6)
    everything = results["results"]["vqa_v2_val"]
    error = stdev([0.6, 0.9]) / sqrt(2)
    for kind in ("stderr", "stderr_clt"):
        assert everything[f"vqa_accuracy_official_number_{kind},none"] == pytest.approx(error)
        assert everything[f"vqa_accuracy_official_other_{kind},none"] == "N/A"
    assert all(results["higher_is_better"]["vqa_v2_val"][metric] for metric in rows)


def test_scores_by_type_stand_in_the_file_and_not_in_the_table(
    official: Path,
    task_manager: Any,
) -> None:
    from lmms_eval.utils import make_table

    types = (("how many", "number"), ("what color is the", "other"), ("how many", "other"))
    edit_json(official / VQAV2_ANNOTATIONS, set_types(*types))
    results = evaluate(task_manager, "vqa_v2_val", scripted_model("blue"))
    score = pytest.approx(0.6)
    scores = {"vqa_accuracy": score, "vqa_accuracy_official": score}
    one = {"n": 1, **scores, **{f"{metric}_stderr": None for metric in scores}}
    two = {"n": 2, **scores, **{f"{metric}_stderr": pytest.approx(0) for metric in scores}}
    assert results[SCORES_BY_TYPE] == {
        "vqa_v2_val": {
            "answer_types": {"number": one, "other": two},
            "question_types": {"how many": two, "what color is the": one},
        }
    }
    json.dumps(results[SCORES_BY_TYPE])
    table = make_table(results)
    assert "vqa_accuracy_official_other" in table
    assert SCORES_BY_TYPE not in table + str(results["results"]) + str(results["higher_is_better"])
    kinds = [sample["question_type"] for sample in results["samples"]["vqa_v2_val"]]
    assert kinds == ["how many", "what color is the", "how many"]
    assert SCORES_BY_TYPE not in results["samples"]["vqa_v2_val"][0]


def test_an_error_of_a_part_is_computed_as_that_of_the_whole(
    official: Path, task_manager: Any
) -> None:
    def change(content: dict[str, Any]) -> None:
        set_types(*[("how many", "number")] * 3)(content)
        content["annotations"][1]["answers"][0]["answer"] = "blue"

    edit_json(official / VQAV2_ANNOTATIONS, change)
    options = {"bootstrap_iters": 100_000}
    results = evaluate(task_manager, "vqa_v2_val", scripted_model("blue"), **options)
    rows = results["results"]["vqa_v2_val"]
    whole = {name: rows[f"vqa_accuracy_official{name},none"] for name in ERRORS}
    part = {name: rows[f"vqa_accuracy_official_number{name},none"] for name in ERRORS}
    assert whole["_stderr"] > 0
    assert part == pytest.approx(whole)


def test_a_group_weights_a_task_by_all_its_questions(official: Path) -> None:
    from lmms_eval.tasks import TaskManager

    def change(content: dict[str, Any]) -> None:
        set_types(("how", "number"), ("how", "other"), ("how", "other"))(content)
        for annotation in content["annotations"]:
            annotation["answers"] = given(["blue"] * 10)

    write_official(official, "okvqa", image_ids=(7,))
    edit_json(official / VQAV2_ANNOTATIONS, change)
    average = {"metric": "vqa_accuracy", "aggregation": "mean", "weight_by_size": True}
    group = {"task": ["okvqa", "vqa_v2_val"], "aggregate_metric_list": [average]}
    write_json(official / "ours.yaml", {"group": "ours", **group})
    manager = TaskManager(include_path=[str(tasks_path()), str(official)], include_defaults=False)
    results = evaluate(manager, "ours", scripted_model("blue"))
    assert results["results"]["ours"]["vqa_accuracy,none"] == pytest.approx((0.6 + 3 * 1) / 4)
    assert set(results[SCORES_BY_TYPE]) == {"vqa_v2_val"}


def test_the_raw_answers_are_a_task_of_their_own(official: Path, task_manager: Any) -> None:
    assert official.is_dir()
    model = scripted_model("blue racing")
    raw = evaluate(task_manager, "okvqa_raw", model)
    stemmed = evaluate(task_manager, "okvqa", model)
    assert rows_of(raw, "okvqa_raw") == {
        "vqa_accuracy": pytest.approx(0.6),
        "vqa_accuracy_official": pytest.approx(0.6),
    }
    assert set(rows_of(stemmed, "okvqa").values()) == {0.0}
    assert raw["configs"]["okvqa_raw"]["metadata"]["answer_set"] == "unknown"


@pytest.mark.parametrize(
    ("ending", "name", "found"),
    [("", "okvqa", "stemmed"), ("ing", "okvqa", "raw"), ("ing", "okvqa_raw", "raw")],
)
def test_the_set_of_answers_is_recorded_and_told_where_it_is_another_one(
    official: Path,
    load: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    ending: str,
    name: str,
    found: str,
) -> None:
    edit_json(official / OKVQA_ANNOTATIONS, set_words(ending))
    with caplog.at_level(logging.WARNING):
        task = load(name)
    assert task.config.metadata["answer_set"] == found
    told = "okvqa: the answers are as people wrote them (official files)" in caplog.text
    assert told == (name == "okvqa" and found == "raw")


def test_answers_without_an_image_tell_the_set_too(
    official: Path, load: Callable[..., Any]
) -> None:
    def change(content: dict[str, Any]) -> None:
        (*_, last) = content["annotations"]
        set_words("ing")({"annotations": [last]})

    edit_json(official / OKVQA_ANNOTATIONS, change)
    (official / "val2014" / "COCO_val2014_000000000009.jpg").unlink()
    task = load("okvqa")
    assert (len(task.eval_docs), task.config.metadata["answer_set"]) == (2, "raw")


def test_raw_answers_are_told_from_the_real_stemmed_ones(
    official: Path, vqa_data: Path, load: Callable[..., Any]
) -> None:
    real = json.loads((vqa_data / "okvqa" / "raw_answers.json").read_text("utf-8"))

    def change(content: dict[str, Any]) -> None:
        content["annotations"] += [
            {"question_id": one["question_id"], "answers": given(one["answers"])} for one in real
        ]

    edit_json(official / OKVQA_ANNOTATIONS, change)
    assert load("okvqa").config.metadata["answer_set"] == "raw"


@pytest.mark.parametrize("of_the_hub", [False, True])
def test_stemmed_answers_in_the_place_of_raw_ones_are_refused(
    official: Path,
    task_manager: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    of_the_hub: bool,
) -> None:
    from moe_eval_plugin.tasks.lmms_eval_task import VQATask

    config = task_manager._get_config("okvqa_raw")
    edit_json(official / OKVQA_ANNOTATIONS, set_words(""))
    if of_the_hub:
        monkeypatch.delenv("MOE_EVAL_DATA")
        columns = ("question_id", "question", "image", "answers")
        config["dataset_path"] = as_on_the_hub(official, *columns, answers=WORDS)
    with pytest.raises(SystemExit) as ended:
        VQATask(config=config)
    assert ended.value.code == 2
    assert "okvqa_raw needs the answers as people wrote them" in capfd.readouterr().err


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
        official / OKVQA_ANNOTATIONS,
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
        (lambda folder: cut_off(folder / OKVQA_ANNOTATIONS), "not complete JSON"),
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
    from moe_eval_plugin.tasks import vqa_data

    (official / OKVQA_ANNOTATIONS).unlink()
    calls = []

    def counted(name: str, folder: Path, **options: Any) -> object:
        calls.append(name)
        return load_official(name, folder, **options)

    monkeypatch.setattr(vqa_data, "load_official", counted)
    with pytest.raises(SystemExit):
        load("okvqa")
    assert calls == ["okvqa"]


def test_an_unknown_scoring_mode_ends_the_process(
    official: Path,
    task_manager: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from moe_eval_plugin.tasks.lmms_eval_task import VQATask

    assert official.is_dir()
    config = task_manager._get_config("okvqa")
    config["metadata"] = {"version": 1.0, "scoring": {"vqa_accuracy": "vqa"}}
    with pytest.raises(SystemExit) as ended:
        VQATask(config=config)
    assert ended.value.code == 2
    assert "There is no scoring mode 'vqa'" in capfd.readouterr().err


def test_runs_are_compared_by_the_first_mode(official: Path, task_manager: Any) -> None:
    from moe_eval_plugin.tasks.lmms_eval_task import VQATask

    assert official.is_dir()
    config = task_manager._get_config("okvqa")
    config["metadata"] = {"scoring": {"of_2016": "official-2016", "vqa_accuracy": "lmms-vqav2"}}
    task = VQATask(config=config)
    assert task.config.score_key == "of_2016"
    assert list(task.higher_is_better()) == ["of_2016", "vqa_accuracy"]
    scores = task.process_results(task.eval_docs[0], ["the one"])
    assert (scores["of_2016"], scores["score"]) == (0.0, 0.0)
    assert scores["vqa_accuracy"] == pytest.approx(0.3)


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


def test_documents_in_the_form_of_the_hub(
    task_manager: Any,
    tmp_path: Path,
) -> None:
    from moe_eval_plugin.tasks.lmms_eval_task import VQATask

    path = as_on_the_hub(tmp_path, "question_id", "question", "image", "answers")
    task = VQATask(config=task_manager._get_config("okvqa") | {"dataset_path": path})
    doc = task.eval_docs[0]
    # Not decoded by datasets, which fills truncated files and keeps every mode.
    assert doc["image"].keys() == {"bytes", "path"}
    assert [image.mode for image in task.doc_to_visual(doc)] == ["RGB"]
    assert "image" not in task.eval_docs_no_media.features
    assert task.process_results(doc, ["Blue"])["vqa_accuracy"] == pytest.approx(0.6)
    assert task.process_results(doc, ["Blue"])["question_id"] == "71"
    assert task.config.metadata["origin"] == f"hub: {path}"
    assert "answer_type" not in task.process_results(doc, ["Blue"])


def test_types_are_taken_from_the_hub_where_it_has_them(task_manager: Any, tmp_path: Path) -> None:
    from moe_eval_plugin.tasks.lmms_eval_task import VQATask

    columns = ("question_id", "question", "image", "answers", "question_type", "answer_type")
    path = as_on_the_hub(tmp_path, *columns)
    task = VQATask(config=task_manager._get_config("okvqa") | {"dataset_path": path})
    scores = task.process_results(task.eval_docs[0], ["Blue"])
    assert (scores["question_type"], scores["answer_type"]) == ("what color is the", "other")


def test_a_data_set_without_a_needed_column(
    task_manager: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from moe_eval_plugin.tasks.lmms_eval_task import VQATask

    path = as_on_the_hub(tmp_path, "question", "image", "answers")
    with pytest.raises(SystemExit) as ended:
        VQATask(config=task_manager._get_config("okvqa") | {"dataset_path": path})
    assert ended.value.code == 2
    assert f"{path} has no column question_id; it has question, image" in capfd.readouterr().err


def test_a_cut_off_photo_ends_the_command_with_2(official: Path) -> None:
    cut_off(official / "val2014" / "COCO_val2014_000000000008.jpg")
    options = ("--model_args", "read_bytes=1", "--include_path", tasks_path())
    done = lmms_eval("--model", "dummy", "--tasks", "okvqa", *options)
    assert done.returncode == 2
    message = done.stderr.split("error: ", 1)[1]
    assert "COCO_val2014_000000000008.jpg, the image of question 81, cannot be read" in message
    assert "Traceback" not in done.stderr
