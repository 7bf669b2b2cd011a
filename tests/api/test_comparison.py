"""Comparisons as a Python program makes them, of files with known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import moe_eval_plugin as moe
from moe_eval_plugin.errors import InvalidArgumentError
from tests.publish.bundle.finished_sweeps import write_sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("runs") / "sweep")


def test_two_settings_are_compared(folder: Path) -> None:
    sweep = moe.load(folder)
    found = moe.compare(sweep[8], sweep[2])
    [row] = found.table
    assert (row["task"], row["a"], row["b"], row["difference"]) == ("easy_vqa", 1.0, 0.75, -0.25)
    assert len(found.changes) == 10
    assert "Changed questions: 10" in repr(found)
    assert list(found.to_pandas()["equal_answers"]) == [0.75]
    by_path = moe.compare(folder / "k8", str(folder / "k2"), within=30)
    assert by_path.table.to_dicts()[0]["difference"] == -0.25


def test_a_sweep_is_compared_with_its_baseline(folder: Path) -> None:
    for sweep in (folder, moe.load(folder)):
        found = moe.compare(sweep)
        assert [row["setting"] for row in found.table] == ["k2"]
        assert found._repr_html_().startswith("<table>")
        assert "against k=8" in repr(found)


def test_what_cannot_be_compared(folder: Path) -> None:
    sweep = moe.load(folder)
    with pytest.raises(InvalidArgumentError, match="k=8 is a single run"):
        moe.compare(sweep[8])
    with pytest.raises(InvalidArgumentError, match="is a single run"):
        moe.compare(folder / "k8")
    with pytest.raises(InvalidArgumentError, match="is a sweep of the settings k8, k2"):
        moe.compare(folder, folder / "k2")
