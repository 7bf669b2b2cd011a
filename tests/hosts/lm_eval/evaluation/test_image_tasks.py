"""Tasks with images are refused for a model for text alone, before any weight is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lm_eval.api.model import hash_args
from lm_eval.tasks import TaskManager
from PIL import Image

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.evaluation.image_tasks import check_named_tasks, task_definitions
from moe_eval_plugin.hosts.lm_eval.registration import register
from moe_eval_plugin.hosts.shared.task_data import check_data
from moe_eval_plugin.tasks import tasks_path
from moe_eval_plugin.tasks.lm_eval_task import Images
from moe_eval_plugin.tasks.vqa import doc_to_visual
from tests.hosts.lm_eval.local_tasks import write_tasks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    (folder / "tagged.yaml").write_text("include: sums.yaml\ntask: tagged\ntag: some\n", "utf-8")
    (folder / "both.yaml").write_text("group: both\ntask:\n  - sums\n  - moe_vqa\n", "utf-8")
    paths = [str(tasks_path("lm-eval")), str(folder)]
    found: dict[str, Any] = TaskManager(include_path=paths, include_defaults=False).task_index
    return found


@pytest.mark.parametrize(
    ("tasks", "named"),
    [
        (["sums", "easy_vqa"], "easy_vqa"),
        (["both"], "okvqa, vqa_v2_val"),
        ([{"task": "okvqa", "num_fewshot": 0}], "okvqa"),
        ([{"task": "own", "doc_to_image": "image"}], "own"),
    ],
)
def test_a_model_for_text_is_told_of_the_other_one(
    index: dict[str, Any], tasks: list[Any], named: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        check_named_tasks("moe_hf", tasks, index)
    assert str(refused.value) == (
        f"{named}: these questions have images, and moe_hf is for text alone. Use --model "
        "moe_hf-multimodal, with --apply_chat_template."
    )


@pytest.mark.parametrize(
    ("model", "tasks"),
    [
        ("moe_hf-multimodal", ["easy_vqa"]),
        ("hf", ["easy_vqa"]),
        ("moe_hf", ["sums", "some", "no such task", {"task": "own"}]),
    ],
)
def test_anything_else_is_left_to_the_host(
    index: dict[str, Any], model: str, tasks: list[Any]
) -> None:
    check_named_tasks(model, tasks, index)
    # The same call refuses a task with images for a model of text.
    with pytest.raises(InvalidArgumentError) as refused:
        check_named_tasks("moe_hf", [*tasks, "okvqa"], index)
    assert "okvqa" in str(refused.value)


def test_missing_data_of_a_task_in_a_group_are_named_before_anything_is_loaded(
    index: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path))
    check_data(task_definitions(["sums", "some", "easy_vqa"], index))
    with pytest.raises(DataError, match=r"mscoco_val2014_annotations\.json"):
        check_data(task_definitions(["both"], index))


def test_answers_to_questions_with_images_are_cached_by_the_content_of_the_images() -> None:
    register()

    def images(colour: str) -> Images:
        row = {"image": Image.new("RGB", (4, 4), colour)}
        return Images([row], {"row": 0, "question_id": 1}, doc_to_visual)  # type: ignore[arg-type]

    red, same, blue = (
        hash_args("generate_until", ("text", {}, {"visual": images(colour)}))
        for colour in ("red", "red", "blue")
    )
    host = hash_args("generate_until", ("text", {}, {"visual": [Image.new("RGB", (4, 4), "red")]}))
    assert red == same == host != blue
