"""The line that says what a command is doing: on a terminal, and in a log."""

from __future__ import annotations

import io

from moe_eval_plugin.commands.status import INTERVAL_S, Status, duration_text


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_for_a_step_that_lasts_and_again_every_30_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with Status(stream, clock) as status:
        status.doing("reading the tasks")
        clock.now = 0.5
        status.counting("k=7", 500, after=500)
        for _ in range(13):
            clock.now += 1
            status.advance(24)
        assert stream.getvalue().splitlines() == [
            "k=7: 24 of 500 questions, 24 questions/s, about 41 s left"
        ]
        clock.now += INTERVAL_S
        status.tick()
    written = stream.getvalue().splitlines()
    assert written[1] == "k=7: 312 of 500 questions, 7.3 questions/s, about 2 min left"
    assert len(written) == 2


def test_a_step_without_a_count_says_how_long_it_has_lasted() -> None:
    stream, clock = io.StringIO(), Clock()
    with Status(stream, clock) as status:
        status.doing("loading the weights")
        for _ in range(62):
            clock.now += 1
            status.tick()
    assert stream.getvalue().splitlines() == [
        "loading the weights (1 s)",
        "loading the weights (31 s)",
        "loading the weights (61 s)",
    ]


def test_a_step_may_say_more_without_beginning_again() -> None:
    stream, clock = io.StringIO(), Clock()
    with Status(stream, clock) as status:
        status.counting("k=7", 500)
        for block in range(70):
            clock.now += 1
            status.update(f"block {block}")
    assert stream.getvalue().splitlines() == [
        "block 0 (1 s)",
        "block 30 (31 s)",
        "block 60 (61 s)",
    ]
    other = io.StringIO()
    with Status(other, clock) as status:
        status.update("block 0")
        clock.now += 1
        status.update("block 1")
    assert other.getvalue() == "block 1 (1 s)\n"


def test_answers_of_an_interrupted_run_do_not_make_the_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    with Status(stream, clock) as status:
        status.counting("k=4", 100)
        status.advance(90, earlier=True)
        clock.now = 2
        status.advance(4)
        clock.now += INTERVAL_S
        status.advance(6)
    assert stream.getvalue().splitlines() == [
        "k=4: 94 of 100 questions, 2 questions/s, about 3 s left",
        "k=4: 100 of 100 questions, 0.31 questions/s",
    ]


def test_a_terminal_has_one_line_that_changes_and_lines_that_stay_above_it() -> None:
    stream, clock = Terminal(), Clock()
    with Status(stream, clock) as status:
        status.doing("loading the weights")
        status.write("k=8 verified")
    erase = "\r\x1b[K"
    assert stream.getvalue() == (
        f"{erase}loading the weights{erase}k=8 verified\n{erase}loading the weights{erase}"
    )


def test_durations_are_written_as_people_say_them() -> None:
    assert [duration_text(s) for s in (0.2, 45, 61, 3599, 7800)] == [
        "1 s",
        "45 s",
        "1 min",
        "1 h 0 min",
        "2 h 10 min",
    ]
