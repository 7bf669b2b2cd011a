"""Which speed an export carries: that of requests where it was timed, and never one for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.publish.exports.every_eval_ever import EXPORTERS as EVERY_EVAL_EVER
from moe_eval_plugin.publish.exports.paper import EXPORTERS as PAPER
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.results.score_facts import ScoreFacts, collect
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.results.timing.timed_files import TASK, timed_pass, write_timed_pass

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = {"k8": [1.0] * 8, "k2": [0.5] * 8}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = write_sweep(tmp_path / "sweep")
    for name in ("k8", "k2"):
        change(results_of(folder, name), as_shared)
    return folder


def as_shared(content: dict[str, dict[str, dict[str, object]]]) -> None:
    """Let the questions of a run have shared their images."""
    in_record(lambda record: record["speed"].update(is_shared=True))(content)
    rows = content["results"][TASK]
    rows["task_samples_per_s,none"] = rows.pop("samples_per_s,none")


def facts_of(sweep: Path, name: str) -> dict[str, ScoreFacts]:
    return {one.metric: one for one in collect([read_run(results_of(sweep, name))])}


def test_the_timed_pass_gives_the_speed_of_requests_and_the_speed_up(sweep: Path) -> None:
    write_timed_pass(sweep, timed_pass(SECONDS))
    found = facts_of(sweep, "k2")
    score = found["exact_match"]
    assert (score.samples_per_s, score.speed_from, score.timed_batch_size) == (8.0, "timed pass", 4)
    assert (score.speed_up, score.speed_up_low, score.speed_up_high) == (2.0, 2.0, 2.0)
    assert score.n == 40
    assert (found["samples_per_s"].value, found["samples_per_s"].n) == (8.0, 32)
    assert (found["speed_up"].value, found["speed_up"].unit) == (2.0, "times the published k")
    assert found["speed_up"].higher_is_better
    assert not found["speed_up"].is_main
    # What the run itself measured keeps the name of the task.
    assert found["task_samples_per_s"].value == pytest.approx(5046 / 286.5)
    baseline = facts_of(sweep, "k8")
    assert baseline["exact_match"].speed_up is None
    assert "speed_up" not in baseline


def test_without_a_timed_pass_a_shared_run_has_task_throughput_only(sweep: Path) -> None:
    score = facts_of(sweep, "k2")["exact_match"]
    assert (score.samples_per_s, score.task_samples_per_s) == (None, 10.0)
    assert score.speed_from == "task throughput: questions shared their images"


def test_the_batch_size_of_the_run_is_taken_where_it_was_timed(sweep: Path) -> None:
    for size in (4, 16, 8):
        write_timed_pass(sweep, timed_pass(SECONDS, batch_size=size))
    assert facts_of(sweep, "k2")["exact_match"].timed_batch_size == 8


def test_exports_say_what_their_speed_is_of(sweep: Path) -> None:
    runs = [read_run(results_of(sweep, "k2"))]
    markdown = PAPER[0]
    (text,) = markdown.export(runs, None).files.values()
    shared = "of the whole task, whose questions shared images or contexts."
    assert shared in text
    assert text.count("| 10.0 ") == 1
    write_timed_pass(sweep, timed_pass(SECONDS))
    (text,) = markdown.export(runs, None).files.values()
    assert "Rates are questions per second, of requests in the timed pass" in text
    assert "batch size 8 (timed at 4)" in text
    assert text.count("| 8.00 ") == 1
    (log,) = EVERY_EVAL_EVER[0].export(runs, None).files.values()
    assert '"speed_from": "timed pass"' in log
    assert '"metric_unit": "times the published k"' in log
