"""Show log files while they grow: what ``--verbose`` adds to a sweep."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INTERVAL_S = 0.5
PATTERN = "*.log"


class LogFollower:
    """Reads what is added to the log files of a folder, whole lines only.

    What the files hold at the beginning is not shown. The folder need not exist yet.
    """

    def __init__(self, folder: Path, show: Callable[[str], None]) -> None:
        self._folder = folder
        self._show = show
        self._read: dict[Path, int] = {
            path: path.stat().st_size for path in folder.glob(PATTERN) if path.is_file()
        }

    def read(self) -> None:
        """Show the lines that were added since the last call."""
        for path in sorted(self._folder.glob(PATTERN)):
            with path.open("rb") as file:
                # A file that is shorter than before was written anew.
                start = self._read.get(path, 0)
                file.seek(start if start <= path.stat().st_size else 0)
                added = file.read()
                whole, newline, _ = added.rpartition(b"\n")
                self._read[path] = file.tell() - len(added) + len(whole) + len(newline)
            for line in whole.decode("utf-8", errors="replace").splitlines():
                self._show(f"{path.stem}: {line}")


@contextmanager
def following(folder: Path, show: Callable[[str], None], *, active: bool) -> Iterator[None]:
    """Show what is added to the log files of a folder until the end, if ``active``."""
    if not active:
        yield
        return
    follower, ended = LogFollower(folder, show), threading.Event()

    def follow() -> None:
        while not ended.wait(INTERVAL_S):
            follower.read()

    thread = threading.Thread(target=follow, name="logs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        follower.read()
