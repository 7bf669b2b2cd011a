from __future__ import annotations

import sys

import pytest

from moe_eval_plugin.errors import (
    InvalidArgumentError,
    MissingDependencyError,
)
from tests.commands.command_lines import bench


@pytest.mark.parametrize(
    "arguments", [("--enforce-eager",), ("--engine-args", "seed=1"), ("--verify", "config")]
)
def test_what_only_vllm_knows_needs_its_backend(arguments: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="Add --backend vllm"):
        bench(*arguments)


def test_without_vllm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependencyError, match=r"moe-eval-plugin\[vllm\].*--backend hf"):
        bench("--backend", "vllm")
