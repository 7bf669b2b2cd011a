"""Names of models and tasks, checked before lmms-eval is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lmms_eval import names

if TYPE_CHECKING:
    from pathlib import Path


def test_tasks_groups_tags_and_patterns_are_known() -> None:
    known = ["easy_vqa", "moe_vqa", "mme", "mmbench", "no_such_*"]
    names.check_tasks(known)
    with pytest.raises(InvalidArgumentError, match="no_such_task"):
        names.check_tasks([*known, "no_such_task"])


@pytest.mark.parametrize(
    ("definition", "name"),
    [
        ("task: my_task\n", "my_task"),
        ("group: 'my-group'\ntask:\n  - easy_vqa\n", "my-group"),
        ('"task": "quoted"\n', "quoted"),
        ("task: a\ntag:\n  - tag_in_a_list\n", "tag_in_a_list"),
    ],
)
def test_a_folder_of_the_user_is_searched(tmp_path: Path, definition: str, name: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "one.yaml").write_text(definition)
    with pytest.raises(InvalidArgumentError):
        names.check_tasks([name])
    names.check_tasks([name], str(tmp_path))


def test_a_misspelt_name_gets_the_nearest_one() -> None:
    with pytest.raises(InvalidArgumentError, match=r"easy_vqaa\. Did you mean easy_vqa\?"):
        names.check_tasks(["easy_vqa", "easy_vqaa"])
    with pytest.raises(InvalidArgumentError, match=r"qwen3_v is not known\. Did you mean qwen3_vl"):
        names.check_model("qwen3_v")


def test_models_of_lmms_eval_and_ours_are_known() -> None:
    for name in ("moe_hf", "moe_vllm", "qwen3_vl"):
        names.check_model(name)
        with pytest.raises(InvalidArgumentError, match=f"x{name} is not known"):
            names.check_model(f"x{name}")


def test_a_task_of_ours_is_none_of_the_host() -> None:
    assert names.is_of_the_host("mme")
    assert not names.is_of_the_host("easy_vqa")
