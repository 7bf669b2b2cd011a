"""The reference of results has a row for each key that results have, and the search finds each."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.experts.layer_observation import LayerObservation
from moe_eval_plugin.hardware.device import DeviceFacts
from moe_eval_plugin.measure.answer_ends import AnswerEnds
from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.measure.speed import Distribution, PhaseTotals, TaskSpeed
from moe_eval_plugin.results.record import RunRecord, Score
from moe_eval_plugin.results.rows import ROWS, in_order, unit_of
from moe_eval_plugin.results.steady_decode import SteadyDecode
from moe_eval_plugin.results.timing.timed_pass import TimedBlock, TimedPass
from tests.docs.extensions import built, extension, found_objects
from tests.results.sample_records import experts

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

TABLE = re.compile(r"(?ms)^```\{(?:result-rows|record-keys|keys-table)\}.*?^```$")
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
FFN_USE = {"selected": 3.0, "mean": 2.0, "p10": 1, "p90": 3, "shares": {"ffn": 1.0}}
ROUTING = {"ffn_use": FFN_USE, "skipped_experts": {"share": 0.25, "text": 0.0, "image": 0.5}}
ONE = Distribution(1.0, 1.0, 1)


@pytest.fixture(scope="module")
def result_keys(repository_root: Path) -> ModuleType:
    return extension("result_keys", repository_root)


@pytest.fixture(scope="module")
def entries(
    result_keys: ModuleType, repository_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, str]]:
    """Build the tables of the page, and return what the search finds of them."""
    page = (repository_root / "docs" / "reference" / "results.md").read_text("utf-8")
    tables = [LINK.sub(r"\1", table) for table in TABLE.findall(page)]
    headings = ["# Results", "## Answers from a cache", "## Rates of a run that shares images"]
    folder = tmp_path_factory.mktemp("pages")
    (folder / "reference").mkdir()
    text = "\n\n".join([*headings, *tables, "```{toctree}\n../glossary\n```"])
    (folder / "reference" / "results.md").write_text(text, "utf-8")
    (folder / "glossary.md").write_text("# Glossary\n", "utf-8")
    out = built(folder, result_keys.__name__, first="reference/results")
    html = (out / "reference" / "results.html").read_text("utf-8")
    found = {name: one for name, one in found_objects(out).items() if "key" in one[0]}
    assert all(html.count(f'id="{link.partition("#")[2]}"') == 1 for _, link in found.values())
    return found


def documented(entries: dict[str, tuple[str, str]], prefix: str) -> set[str]:
    """Return the keys below a prefix, without those of the parts below."""
    keys = {name.removeprefix(prefix) for name in entries if name.startswith(prefix)}
    return {key for key in keys if "." not in key}


def full_record(start: str, *, is_shared: bool) -> RunRecord:
    """Make a record in which every part is known."""
    speed = TaskSpeed(
        *(1, 1, 1, 1.0),
        phases=PhaseTotals(0.1, 0.1, 0.1, 0.1, 0.4),
        ttft_s=ONE,
        e2e_latency_s=ONE,
        latency_from=start,
        is_shared=is_shared,
    )
    return RunRecord(
        "a_task",
        experts(observed_text=4, observed_image=2, routing=ROUTING),
        speed,
        {"batch_size": 1},
        HardwareUse(PeakMemory(1, 1, 1), 1.0),
        Score("exact_match", 0.5),
        SteadyDecode(),
        answers=AnswerEnds(1, 1, 0, 0, 0),
        n_answers_from_cache=1,
    )


RECORDS = [
    full_record(start, is_shared=is_shared)
    for start, is_shared in itertools.product(("preprocessing", "queue"), (True, False))
]


def test_the_reference_lists_every_row_that_records_have(
    entries: dict[str, tuple[str, str]],
) -> None:
    possible = {name for record in RECORDS for name in record.rows()}

    assert {row.name for row in ROWS} == possible
    assert documented(entries, "row ") == possible
    assert entries["row samples_per_s"] == (
        "key of the results",
        "reference/results.html#row-samples-per-s",
    )


def test_the_rows_of_a_record_come_in_the_order_of_the_reference() -> None:
    order = [row.name for row in ROWS]

    for record in RECORDS:
        places = [order.index(name) for name in record.rows()]
        assert places == sorted(places)


def test_a_row_that_is_not_declared_is_an_error() -> None:
    with pytest.raises(KeyError, match="new_row"):
        in_order({"samples_per_s": 1.0, "new_row": 1.0})


def test_units_of_rows_agree_with_their_names() -> None:
    for row in ROWS:
        named = unit_of(row.name)
        assert named in {None, "count"} or row.unit.startswith(
            named.replace("samples", "questions")
        )


@pytest.mark.parametrize(
    ("prefix", "part"),
    [
        ("record ", ()),
        ("record score.", ("score",)),
        ("record speed.", ("speed",)),
        ("record speed.phases.", ("speed", "phases")),
        ("record answers.", ("answers",)),
        ("record hardware.", ("hardware",)),
        ("record hardware.peak_memory.", ("hardware", "peak_memory")),
        ("record experts.", ("experts",)),
        ("record ffn_use.", ("experts", "routing", "ffn_use")),
    ],
)
def test_the_reference_lists_every_key_of_a_record(
    entries: dict[str, tuple[str, str]], prefix: str, part: tuple[str, ...]
) -> None:
    stored: Any = RECORDS[0].to_dict()
    for key in part:
        stored = stored[key]

    assert documented(entries, prefix) == set(stored)


def test_the_reference_lists_every_key_of_a_layer(entries: dict[str, tuple[str, str]]) -> None:
    layer = LayerObservation(num_experts=4).to_dict()

    assert documented(entries, "record layer.") == {*layer, "ffn_use", "skipped_experts"}


def test_a_field_without_a_docstring_fails_the_build(result_keys: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"no docstring for .*\bunit\b"):
        result_keys.keys_of(result_keys.Key)


def test_docstrings_are_shown_as_the_json_has_them(result_keys: ModuleType) -> None:
    keys = {key.name: key for key in result_keys.keys_of(PhaseTotals, ["host_bound"], "phases.")}

    assert {*keys} == {
        *(f"phases.{field.name}" for field in dataclasses.fields(PhaseTotals)),
        "phases.host_bound",
    }
    assert "`null` without a known image tower" in keys["phases.vision_s"].meaning
    assert keys["phases.vision_s"].unit == "s"


def test_the_page_of_timed_passes_lists_every_key(repository_root: Path) -> None:
    page = (repository_root / "docs" / "reference" / "timed-pass.md").read_text("utf-8")
    first, block = (
        {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
        for table in re.findall(r"\|---\|---\|\n((?:\|.*\n)+)", page)[:2]
    )

    known = {field.name for field in dataclasses.fields(TimedPass)} - {"blocks", "ended_by"}
    assert first == {"schema_version", "kind", *known}
    assert block == {field.name for field in dataclasses.fields(TimedBlock)}


@pytest.mark.parametrize(
    ("heading", "of"), [("Facts", DeviceFacts), ("Load of the machine", MachineLoad)]
)
def test_the_page_of_the_hardware_lists_every_key(
    heading: str, of: type, repository_root: Path
) -> None:
    page = (repository_root / "docs" / "reference" / "hardware.md").read_text("utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]

    listed = re.findall(r"^\| `(\w+)`", section, re.MULTILINE)

    assert listed == [field.name for field in dataclasses.fields(of)]
