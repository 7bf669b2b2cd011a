from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, UserError
from moe_eval_plugin.publish.reproduce.rerun import module_arguments, rerun
from tests.report.report_runs import write_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def test_a_run_is_not_written_over_another_one(tmp_path: Path) -> None:
    write_run(tmp_path, 4)
    command = ["lmms-eval", "--output_path", "{output}"]
    with pytest.raises(DataError, match="already holds a run"):
        rerun([command], tmp_path, print)


def test_a_command_that_cannot_be_run_ends_with_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[Sequence[str]] = []
    command = ["moe-eval", "sweep", "--no-such-option", "--output", "{output}"]
    with pytest.raises(UserError, match="moe-eval sweep ended with exit code 2"):
        rerun([command], tmp_path / "out", told.append)
    assert told == [["moe-eval", "sweep", "--no-such-option", "--output", str(tmp_path / "out")]]
    assert "unrecognized arguments: --no-such-option" in capfd.readouterr().err


def test_only_the_programs_of_a_bundle_are_run(tmp_path: Path) -> None:
    output = ["--output_path", "out"]
    assert module_arguments(["lmms-eval", *output]) == ["lmms_eval", *output]
    assert module_arguments(["moe-eval", "lm-eval", "run", *output]) == [
        *("moe_eval_plugin.lm_eval", "run", "--output_path", "out")
    ]
    assert module_arguments(["moe-eval", "sweep", *output]) == [
        *("moe_eval_plugin", "sweep", "--output_path", "out")
    ]
    with pytest.raises(DataError, match="is not a command of a bundle"):
        rerun([["touch", "{output}"]], tmp_path / "out", print)
    assert not (tmp_path / "out").exists()


def test_a_sweep_that_leaves_nothing_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["moe-eval", "sweep", "--help", "--output", "{output}"]
    with pytest.raises(UserError, match="left no sweep"):
        rerun([command], tmp_path / "out", print)
    assert "--experts-k" in capfd.readouterr().out
