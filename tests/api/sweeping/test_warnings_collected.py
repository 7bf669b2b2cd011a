"""Warnings of this package are collected while a sweep runs, and still printed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from moe_eval_plugin.api.sweeping.warnings_collected import MOST, CollectedWarnings
from tests.sweeps.sweep_folders import open_it

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LOGGER = logging.getLogger("moe_eval_plugin.somewhere")


def test_each_warning_is_collected_once_within_the_block_alone() -> None:
    collected = CollectedWarnings()

    with collected.collecting():
        for name in ("a", "a", "b"):
            LOGGER.warning("%s: 12 of 20 questions\n  are used.", name)
        LOGGER.info("nothing")
        logging.getLogger("another").warning("of another package")
    LOGGER.warning("later")

    assert collected.texts == [f"{name}: 12 of 20 questions are used." for name in "ab"]


def test_a_warning_for_each_image_does_not_fill_the_manifest() -> None:
    collected = CollectedWarnings()

    with collected.collecting():
        for number in range(2 * MOST):
            LOGGER.warning("image %d", number)

    assert len(collected.texts) == MOST


def test_warnings_are_printed_as_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])

    with CollectedWarnings().collecting():
        LOGGER.warning("the data changed")

    assert capsys.readouterr().err == "the data changed\n"


def test_the_manifest_keeps_the_warnings_of_all_runs(tmp_path: Path) -> None:
    open_it(tmp_path).add_warnings(["first", "second"])
    again = open_it(tmp_path)
    again.add_warnings(["second", "third"])

    assert open_it(tmp_path).warnings == ("first", "second", "third")
