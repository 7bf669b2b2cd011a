"""The commands of the reference, the explanations and the measurements end without an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.console_blocks import blocks_of, runs_of
from tests.docs.console_shell import run_blocks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "page",
    runs_of("docs", "docs/reference", "docs/explanation", "docs/measurements"),
    ids=lambda page: page.stem,
)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    run_blocks([block for block in blocks_of(page) if block.reason is None], tmp_path)
