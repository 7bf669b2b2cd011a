"""``moe-eval data check`` prints its report and draws a progress bar on a terminal alone."""

from __future__ import annotations

import os
import pty
import subprocess
import termios
from typing import TYPE_CHECKING

from tests.cli.programs import MOE_EVAL, moe_eval
from tests.vqa.vqa_files import write_complete

if TYPE_CHECKING:
    from pathlib import Path


def test_the_bar_is_drawn_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    write_complete(tmp_path)
    command = [MOE_EVAL, "data", "check", tmp_path]
    terminal, end = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, check=True)
    os.set_blocking(terminal, False)
    assert b"%|" in os.read(terminal, 10_000)
    os.close(terminal)
    os.close(end)
    assert shown.stdout.startswith(b"okvqa: complete")
    silent = subprocess.run(command, capture_output=True, check=True)
    assert silent.stderr == b""


def test_a_folder_without_official_files_fails(tmp_path: Path) -> None:
    run = moe_eval("data", "check", tmp_path)
    assert run.returncode == 1
    assert " ".join(run.stdout.split()).startswith(f"No official file was found in {tmp_path}")
    absent = moe_eval("data", "check", tmp_path / "nowhere")
    assert absent.returncode == 2
    assert "nowhere is not a folder" in absent.stderr
