from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.measure.answer_ends import AnswerEnds
from tests.results import sample_records
from tests.results.compare.compared_runs import add_record, compare_files, write_pair
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moe_eval_plugin.results.compare.comparison import TaskComparison


def record(k: int, **provenance: Any) -> dict[str, Any]:
    shared = {"pretrained": "demo", "revision": "abc", "versions": {"torch": "2.9", "vllm": None}}
    known = sample_records.record(
        experts=sample_records.experts(requested=k, observed=k, experts_k=str(k)),
        provenance={**shared, **provenance},
    )
    return known.to_dict()


def settings_of(found: TaskComparison) -> Mapping[str, tuple[str | None, str | None]]:
    return {one.name: (one.a, one.b) for one in found.settings}


def test_what_differs_between_the_runs_is_shown(tmp_path: Path) -> None:
    a, b = write_pair(
        tmp_path,
        record(8, batch_size=8, dtype="float32"),
        record(4, batch_size=16, dtype="float32"),
    )
    edit_json(b, lambda content: content["config"].update(model="moe_vllm", batch_size=1))

    shown = settings_of(compare_files(a, b).tasks[0])

    assert shown == {
        "backend": ("qwen3_vl", "moe_vllm"),
        "model": ("demo", "demo"),
        "k requested": ("8", "4"),
        "k observed": ("8", "4"),
        "k baseline": ("8", "8"),
        "experts_k": ("8", "4"),
        "batch_size": ("8", "16"),
    }


@pytest.mark.parametrize("name", ["revision", "dtype", "torch"])
def test_revision_type_and_versions_are_among_what_differs(tmp_path: Path, name: str) -> None:
    other: dict[str, Any] = {name: "other"}
    changed = {"versions": other} if name == "torch" else other
    a, b = write_pair(tmp_path, record(8), record(8, **changed))

    shown = settings_of(compare_files(a, b).tasks[0])

    key = "version of torch" if name == "torch" else name
    assert shown[key] == ({"revision": "abc", "torch": "2.9"}.get(name), "other")


def test_a_model_that_is_not_ours_has_no_k(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path)
    edit_json(a, lambda content: content["config"].update(model_args="dtype=float16"))
    add_record(b, record(4))

    shown = settings_of(compare_files(a, b).tasks[0])

    assert shown["k requested"] == (None, "4")
    assert shown["model"] == ("Qwen/Qwen3-VL-4B", "demo")
    assert shown["model_args"] == ("dtype=float16", None)


def test_arguments_of_the_template_are_shown_and_cut_answers_noted(tmp_path: Path) -> None:
    thinking = record(8, chat_template_kwargs={"enable_thinking": True})
    thinking["answers"] = AnswerEnds(4, 1, 0, 3, 2, 16).to_dict()
    a, b = write_pair(tmp_path, thinking, record(8))

    found = compare_files(a, b).tasks[0]

    assert settings_of(found)["chat_template_kwargs"] == ('{"enable_thinking": true}', None)
    (note,) = [note for note in found.notes if "thought" in note]
    assert note.startswith("A: 2 of 4 answers end inside a thought at max_new_tokens=16; 3 of 4 ")


def test_answers_of_a_cache_are_always_shown(tmp_path: Path) -> None:
    cached = {**record(8), "n_answers_from_cache": 11}
    a, b = write_pair(tmp_path, cached, cached)
    assert settings_of(compare_files(a, b).tasks[0])["answers from a cache"] == ("11", "11")
