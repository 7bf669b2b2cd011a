from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.answer.run_facts import facts_line, limit_badge, run_facts
from tests.report.report_runs import (
    TASK,
    computed,
    in_provenance,
    write_run,
    write_sweep,
    wrong_every,
)
from tests.results.timing.timed_files import around
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_line_says_how_much_was_asked_and_on_what(tmp_path: Path) -> None:
    path = write_run(tmp_path, 8)
    machine = {"kind": "cpu", "name": "AMD EPYC", "n_devices": 1, "threads": 1}
    for name, value in (("dtype", "bfloat16"), ("batch_size", 16), ("hardware", machine)):
        edit_json(path, in_provenance(name, value))

    assert facts_line(computed(tmp_path)) == (
        "40 questions on 4 images · AMD EPYC (1 thread) · batch size 16 · bfloat16 · moe_hf"
    )


def test_the_date_is_that_of_utc(tmp_path: Path) -> None:
    def made_in_singapore(content: dict[str, Any]) -> None:
        content["config"]["resolved_cli_args"] = {"timezone": "Asia/Singapore"}
        content["date"] = "20261129_003412"

    edit_json(write_run(tmp_path, 8), made_in_singapore)

    assert run_facts(computed(tmp_path))["date"] == "28 Nov 2026"


def test_a_limit_is_named_with_the_number_of_all_questions(tmp_path: Path) -> None:
    def limit(content: dict[str, Any]) -> None:
        content["config"]["limit"] = 40.0
        content["n-samples"][TASK]["original"] = 9673

    edit_json(write_run(tmp_path, 8), limit)

    numbers = computed(tmp_path)

    assert limit_badge(numbers) == "limited to 40 of 9,673 questions"
    assert facts_line(numbers).endswith(" · limited to 40 of 9,673 questions")


def test_other_batch_sizes_of_the_timed_pass_are_named(tmp_path: Path) -> None:
    seconds = {"k8": around(4), "k4": around(2)}
    write_sweep(tmp_path, {k: wrong_every(10) for k in (8, 4)}, seconds)
    for k in (8, 4):
        (path,) = (tmp_path / f"k{k}").glob("*_results.json")
        edit_json(path, in_provenance("batch_size", 16))

    assert " · batch size 16 (timed at 4) · " in facts_line(computed(tmp_path))
