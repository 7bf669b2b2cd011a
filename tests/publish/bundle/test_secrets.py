from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from tests.publish.bundle.finished_sweeps import (
    change,
    packed,
)
from tests.report.report_runs import write_run

if TYPE_CHECKING:
    from pathlib import Path


SECRET = "hf_" + "a1B2" * 9


@pytest.mark.parametrize(
    "model_args", ["pretrained=demo,api_key=abc123", f"pretrained=demo,x={SECRET}"]
)
def test_a_run_that_recorded_a_key_is_refused_without_showing_it(
    tmp_path: Path, model_args: str
) -> None:
    path = write_run(tmp_path / "run", 4)

    def give_key(content: dict[str, dict[str, object]]) -> None:
        content["config"]["model_args"] = model_args

    change(path, give_key)
    with pytest.raises(DataError, match="made to be published") as caught:
        packed(path, tmp_path / "run.tar.gz")
    assert "abc123" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_words_that_only_look_like_names_of_keys_are_no_secrets(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)

    def harmless(content: dict[str, dict[str, object]]) -> None:
        content["config"]["model_args"] = "pretrained=demo,use_auth_token=True,tokenizer=demo"
        content["config"]["gen_kwargs"] = "max_new_tokens=16,token=None"

    change(path, harmless)
    assert packed(path, tmp_path / "run.tar.gz").is_file()
