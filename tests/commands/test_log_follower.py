from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.commands.log_follower import LogFollower, following

if TYPE_CHECKING:
    from pathlib import Path


def test_whole_lines_are_shown_as_they_are_added(tmp_path: Path) -> None:
    (tmp_path / "k8.log").write_text("of an earlier run\n")
    shown: list[str] = []
    follower = LogFollower(tmp_path, shown.append)
    with (tmp_path / "k8.log").open("a") as file:
        file.write("one\ntwo, and ha")
    follower.read()
    assert shown == ["k8: one"]
    with (tmp_path / "k8.log").open("a") as file:
        file.write("lf\n")
    (tmp_path / "k4.log").write_text("other\n")
    follower.read()
    assert shown[1:] == ["k4: other", "k8: two, and half"]


def test_a_log_that_is_written_anew_is_shown_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "k8.log"
    log.write_text("a long line of an earlier run\n")
    shown: list[str] = []
    follower = LogFollower(tmp_path, shown.append)
    log.write_text("new\n")
    follower.read()
    assert shown == ["k8: new"]


def test_the_rest_is_shown_at_the_end_and_nothing_without_verbose(tmp_path: Path) -> None:
    shown: list[str] = []
    for active in (True, False):
        with following(tmp_path / "logs", shown.append, active=active):
            (tmp_path / "logs").mkdir(exist_ok=True)
            (tmp_path / "logs" / f"{active}.log").write_text("said\n")
    assert shown == ["True: said"]
