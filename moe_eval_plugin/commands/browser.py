"""Open a page in the browser, where a person can see it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
NOBODY_WATCHES = ("CI", "SSH_CONNECTION")


def open_page(page: Path) -> bool:
    """Open a file in the browser of a desktop session; whether that was done.

    It is not where standard output is no terminal, nor in CI, nor on a machine that is used over
    SSH.
    """
    if not sys.stdout.isatty() or any(map(os.environ.get, NOBODY_WATCHES)):
        return False
    # Without a screen, webbrowser starts a browser for terminals, which shows no chart.
    if sys.platform == "linux" and not any(map(os.environ.get, SCREENS)):
        return False
    import webbrowser

    return webbrowser.open(page.resolve().as_uri())
