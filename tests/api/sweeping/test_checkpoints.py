"""Checkpoints of a sweep: what names them, where their results go, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from transformers import OlmoeConfig

from moe_eval_plugin.api.sweeping.checkpoints import check_alike, read_checkpoints
from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("texts", "folders"),
    [
        (["seeds/1", "seeds/2"], ["1", "2"]),
        (["a/iter_100", "b/iter_100"], ["a-iter_100", "b-iter_100"]),
        (["org/model@step100", "org/model@step200"], ["step100", "step200"]),
        (["org/model@main", "org/other@main"], ["model-main", "other-main"]),
        (["org/model@refs/pr/1", "org/model"], ["refs-pr-1", "model"]),
    ],
)
def test_each_checkpoint_has_a_folder_of_its_own(texts: list[str], folders: list[str]) -> None:
    found = read_checkpoints(texts)
    assert [one.folder for one in found] == folders
    assert [one.text for one in found] == texts


def test_a_revision_follows_the_last_at_sign_unless_it_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run@1").mkdir()
    first, second = read_checkpoints([str(tmp_path / "run@1"), "org/model@v2"])
    assert (first.pretrained, first.revision) == (str(tmp_path / "run@1"), None)
    assert (second.pretrained, second.revision) == ("org/model", "v2")
    assert second.model_args("dtype=float32", "lm-eval") == (
        "pretrained=org/model,revision=v2,dtype=float32"
    )
    assert first.model_args("", "lmms-eval") == f"pretrained={tmp_path / 'run@1'}"


def test_too_few_or_equal_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="is one checkpoint, and one says nothing"):
        read_checkpoints(["a"])
    with pytest.raises(InvalidArgumentError, match="names a@1 twice"):
        read_checkpoints(["a@1", "a@2", "a@1"])
    with pytest.raises(InvalidArgumentError, match="twice"):
        read_checkpoints([str(tmp_path), f"{tmp_path}/../{tmp_path.name}"])
    (one, _) = read_checkpoints(["a", "b"])
    with pytest.raises(InvalidArgumentError, match="pretrained= and --checkpoints"):
        one.model_args("pretrained=c", "lm-eval")


def test_checkpoints_of_another_architecture_are_refused(tmp_path: Path) -> None:
    models = []
    for name, changes in (("a", {}), ("b", {}), ("c", {"num_experts": 16})):
        OlmoeConfig(num_hidden_layers=2, **changes).save_pretrained(tmp_path / name)
        models.append(ModelConfig.load(EngineOptions(str(tmp_path / name))))
    checkpoints = read_checkpoints([str(tmp_path / name) for name in "abc"])
    pairs = list(zip(checkpoints, models, strict=True))
    check_alike(pairs[:2])
    with pytest.raises(InvalidArgumentError, match="differ in experts: 64 and 16"):
        check_alike(pairs)
