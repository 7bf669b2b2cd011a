"""Show what a command is doing now, on standard error: one changing line, or plain lines.

On a terminal one line is written over and over. Elsewhere a step that takes long is written as a
line of its own, and again every 30 seconds, so that a log shows that something still runs.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from moe_eval_plugin.option_values import read_bool

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TextIO

NO_PROGRESS = "MOE_EVAL_NO_PROGRESS"
MINUTE_S = 60
HOUR_S = 3600
# How often the line of a terminal changes, at most and at least.
SHORTEST_S = 0.1
TICK_S = 1.0
# Where there is no terminal: a step that is over sooner is not worth a line.
FIRST_LINE_S = 1.0
INTERVAL_S = 30.0
ERASE = "\r\x1b[K"


@dataclass
class Step:
    """One step of a command: what is done, and how far it is where that can be counted."""

    what: str
    """What is done, as people read it: ``loading the weights``, or ``k=7``."""
    began: float
    """When it began, in seconds of the clock of the status."""
    total: int | None = None
    """How many units there are; ``None`` where the work is not counted."""
    unit: str = "questions"
    """What is counted, in the plural."""
    after: int = 0
    """Units of the steps that follow, which the time left includes."""
    n_done: int = 0
    """Units that are done."""
    n_before: int = field(default=0, repr=False)
    """Those of them that were done earlier, and took no time now."""

    def text(self, now: float) -> str:
        """Return the step as one line: ``k=7: 312 of 500 questions, 24 questions/s, ...``."""
        seconds = now - self.began
        if self.total is None:
            return f"{self.what} ({seconds:.0f} s)" if seconds >= 1 else self.what
        text = f"{self.what}: {self.n_done:,} of {self.total:,} {self.unit}"
        n_now = self.n_done - self.n_before
        if n_now <= 0 or seconds <= 0:
            return text
        rate = n_now / seconds
        text = f"{text}, {_rate_text(rate)} {self.unit}/s"
        n_left = max(0, self.total - self.n_done) + self.after
        return f"{text}, about {duration_text(n_left / rate)} left" if n_left else text


class Status:
    """The status of one command; a context manager that removes its line at the end.

    ``stream`` is standard error as it is when the status is built, so that a step may redirect it.
    A thread keeps the line alive while a step says nothing; it writes to ``stream`` alone. Without
    ``progress`` no step is shown, and if ``quiet`` no line is written either.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        progress: bool = True,
        quiet: bool = False,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_shown = progress and not quiet
        self._is_quiet = quiet
        self._is_terminal = self._stream.isatty()
        self._clock = clock
        self._lock = threading.Lock()
        self._step: Step | None = None
        self._written = 0.0
        self._was_shown = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """Return the status of a command with the general options that it was called with."""
        return cls(progress=shows_progress(options), quiet=options.quiet)

    @property
    def is_quiet(self) -> bool:
        """Whether no line is written."""
        return self._is_quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def doing(self, what: str) -> None:
        """Begin a step whose end cannot be counted: ``loading the weights``."""
        self._begin(Step(what, self._clock()))

    def update(self, what: str) -> None:
        """Replace the text of the current step, whose time goes on; without one, begin it."""
        with self._lock:
            step = self._step
            if step is not None:
                step.what, step.total = what, None
                self._show_if_due(SHORTEST_S)
        if step is None:
            self.doing(what)

    def counting(self, what: str, total: int, unit: str = "questions", after: int = 0) -> None:
        """Begin a step of ``total`` units; ``after`` are those of the steps that follow it."""
        self._begin(Step(what, self._clock(), total, unit, after))

    def advance(self, n: int = 1, *, earlier: bool = False) -> None:
        """Count units of the current step; ``earlier`` for those that were done in another run."""
        with self._lock:
            if self._step is None:
                return
            self._step.n_done += n
            self._step.n_before += n if earlier else 0
            self._show_if_due(SHORTEST_S)

    def write(self, text: str, stream: TextIO | None = None) -> None:
        """Write lines that stay, to standard error or another stream, above the status."""
        if not self._is_quiet:
            self._write(text, stream)

    def error(self, text: str) -> None:
        """Write lines that say what failed to standard error, if quiet too."""
        self._write(text, None)

    def _write(self, text: str, stream: TextIO | None) -> None:
        target = self._stream if stream is None else stream
        with self._lock:
            self._erase()
            target.write(f"{text}\n")
            target.flush()
            if self._is_terminal and self._step is not None:
                self._show()

    def pause(self) -> None:
        """End the step and remove its line: what follows is written by others."""
        with self._lock:
            self._erase()
            self._step = None

    def close(self) -> None:
        """Remove the line, and end the thread; nothing happens the second time."""
        self._ended.set()
        self.pause()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def tick(self) -> None:
        """Write the line again if it is time to; called once a second by the thread."""
        with self._lock:
            if self._step is not None:
                self._show_if_due(TICK_S)

    def _begin(self, step: Step) -> None:
        with self._lock:
            self._step, self._was_shown = step, False
            if self._is_terminal:
                self._show()
        if self._is_shown and self._thread is None and not self._ended.is_set():
            self._thread = threading.Thread(target=self._run, name="status", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(TICK_S):
            self.tick()

    def _show_if_due(self, shortest_s: float) -> None:
        now = self._clock()
        if self._is_terminal:
            is_due = now - self._written >= shortest_s
        elif self._was_shown:
            is_due = now - self._written >= INTERVAL_S
        else:
            is_due = self._step is not None and now - self._step.began >= FIRST_LINE_S
        if is_due:
            self._show()

    def _show(self) -> None:
        if self._step is None or not self._is_shown:
            return
        self._written, self._was_shown = self._clock(), True
        text = self._step.text(self._written)
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"{ERASE}{text[:width]}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _erase(self) -> None:
        if self._is_terminal and self._step is not None:
            self._stream.write(ERASE)
            self._stream.flush()


def shows_progress(options: argparse.Namespace) -> bool:
    """Whether what is being done is shown: not with --quiet, --no-progress or the variable."""
    by_variable = read_bool(NO_PROGRESS, os.environ.get(NO_PROGRESS) or "0")
    return not (options.quiet or options.no_progress or by_variable)


def duration_text(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``5 min``, ``2 h 10 min``."""
    if seconds < MINUTE_S:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / MINUTE_S)
    if minutes < HOUR_S // MINUTE_S:
        return f"{minutes} min"
    return f"{minutes // MINUTE_S} h {minutes % MINUTE_S} min"


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"  # noqa: PLR2004  (two digits)
