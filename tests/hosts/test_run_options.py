from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "given", [{"profile": "all"}, {"profile": ""}, {"profile": 1}, {"profile": False}]
)
def test_a_profile_that_is_not_known_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"profile=.*Use one of: off, basic, full"):
        parse_arguments(given)


def test_a_file_is_no_folder_for_traces(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "traces"):
        with pytest.raises(InvalidArgumentError, match=f"profile_trace={folder} is not possible"):
            parse_arguments({"profile_trace": str(folder)})
    parse_arguments({"profile_trace": str(tmp_path / "new")})
    assert not (tmp_path / "new").exists()
