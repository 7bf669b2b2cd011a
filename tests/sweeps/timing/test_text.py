from __future__ import annotations

from dataclasses import replace

from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.sweeps.timing.text import end_text, progress_text, render_pass, summary
from tests.results.timing.timed_files import timed_pass

STEADY = timed_pass({"k8": [2.0] * 8, "k4": [1.6] * 8})
OBSERVED = {"k8": 8.0, "k4": 4.0}


def test_the_table_has_speed_ups_with_intervals_and_the_end() -> None:
    lines = render_pass(STEADY, OBSERVED).splitlines()
    assert lines[1] == "Speed of requests, easy_vqa, 4 questions, batch size 4:"
    assert lines[3].split() == ["k=8", "1", "2.00", "2.00"]
    assert lines[4].split()[:5] == ["k=4", "1.25×", "(1.25", "to", "1.25)"]
    assert lines[5] == "Timed in 8 blocks: every interval is narrower than 3.0%."
    assert max(map(len, lines)) <= 80


def test_questions_of_the_sample_that_were_not_timed_are_not_counted() -> None:
    large = replace(STEADY, sample=tuple(range(1024)))
    assert "easy_vqa, 32 questions, batch" in render_pass(large, OBSERVED)
    assert summary(large, OBSERVED)["n_questions"] == 32


def test_it_says_how_wide_the_intervals_are_when_the_budget_is_spent() -> None:
    ended = replace(STEADY, ended_by="budget")
    assert "60 s: budget spent, widest interval 0.0%" in end_text(ended)
    short = replace(ended, blocks=ended.blocks[:2])
    assert "budget spent before there was an interval" in end_text(short)
    assert "interrupted. Run the same command" in end_text(replace(STEADY, ended_by=None))


def test_the_progress_names_task_batch_size_block_and_widest_interval() -> None:
    text = "timing easy_vqa, batch 4, block 8: widest interval 0.0%, goal 3.0%"
    assert progress_text(STEADY) == text
    assert "widest interval unknown" in progress_text(replace(STEADY, blocks=STEADY.blocks[:2]))


def test_a_busy_machine_and_an_implausible_speed_are_warned_of() -> None:
    busy = MachineLoad(n_cores=2, other_cpu_cores=1.5)
    slow = timed_pass({"k8": [1.0] * 8, "k4": [2.0] * 8})
    found = replace(slow, blocks=tuple(replace(block, load=busy) for block in slow.blocks))
    warnings = summary(found, OBSERVED)["warnings"]
    assert "other programs kept 1.5 of 2 cores busy" in warnings[0]
    assert "k=4 came out slower than k=8" in warnings[1]
    assert render_pass(found, OBSERVED).count("Warning:") == 2


def test_the_summary_has_ratios_with_their_intervals() -> None:
    found = summary(STEADY, OBSERVED)
    assert found["settings"]["k4"]["ratio"] == 1.25
    assert found["settings"]["k4"]["interval"] == [1.25, 1.25]
    assert (found["n_blocks"], found["ended_by"], found["batch_size"]) == (8, "precision", 4)
