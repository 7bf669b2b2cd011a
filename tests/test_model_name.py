from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.model_name import hub_id

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "name", ["demo", "gpt2", "/models/final", "./a/b", "../a", "a/b/c", "a b/c", "a/", "", "a/b:c"]
)
def test_only_names_of_two_parts_are_repositories(name: str) -> None:
    assert hub_id(name) is None
    assert hub_id("lmms-lab/OK-VQA") == "lmms-lab/OK-VQA"


def test_a_folder_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "final").mkdir(parents=True)
    assert hub_id("models/final") == "models/final"
    monkeypatch.chdir(tmp_path)
    assert hub_id("models/final") is None
