"""The files of a study: the page, the study as JSON, all numbers as Parquet, charts and traces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

import pyarrow.parquet as pq  # noqa: E402

from moe_eval_plugin.commands.status import Status  # noqa: E402
from moe_eval_plugin.routing.files import read_trace  # noqa: E402
from moe_eval_plugin.routing.page.write import write_study  # noqa: E402
from moe_eval_plugin.routing.sources import Collection, Source  # noqa: E402
from tests.routing.page.known_traces import (  # noqa: E402
    FIRST,
    N_TOKENS,
    known_trace,
    other_trace,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

TABLES = {
    *("layers", "load", "load_by_layer", "margins", "mass", "saturation", "coactivation"),
    *("tokens_by_layer", "tokens_by_expert", "frequent_tokens", "tasks"),
}
CHARTS = {
    *("retained-mass", "margins", "load-evenness", "token-specialisation"),
    *("task-information", "saturation"),
}
MAPS = {"load", *(f"coactivation-layer-{number}" for number in (1, 2, 3))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study")
    collection = Collection(date="2026-11-29", command="moe-eval routing a/model")
    texts = {FIRST: " the", 9: " a"}
    sources = (Source(known_trace(), collection, texts), Source(other_trace(), Collection()))
    write_study(path, sources, "moe-eval routing --traces here", Status(quiet=True))
    return path


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(
        folder / "statistics" / f"{name}.parquet"
    ).to_pylist()
    return rows


def test_all_files_are_there(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *("index.html", "routing.json", "plots", "statistics", "traces", "traces-against"),
    }
    assert {path.stem for path in (folder / "statistics").iterdir()} == TABLES
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert plots == {
        *(f"{name}.{suffix}" for name in CHARTS for suffix in ("svg", "png")),
        *(f"{name}.svg" for name in MAPS),
    }
    assert all((folder / "plots" / name).read_bytes() for name in plots)


def test_the_study_is_json_without_the_matrices(folder: Path) -> None:
    content = json.loads((folder / "routing.json").read_text("utf-8"))

    assert content["kind"] == "routing"
    assert content["schema_version"] == 1
    assert content["command"] == "moe-eval routing --traces here"
    assert [one["model"] for one in content["sources"]] == ["a/model", "another/model"]
    assert content["sources"][0]["collection"]["command"] == "moe-eval routing a/model"
    assert content["vocabulary"] == {"5": " the", "9": " a"}
    first = content["study"]["layers"][0]
    assert first["groups"][0]["load"]["tokens"] == [N_TOKENS, N_TOKENS, 0, 0]
    assert first["groups"][0]["mass"][0]["retained"]["mean"] == pytest.approx(0.75)
    assert set(first["coactivation"]) == {"pairs", "min_expected"}


def test_numbers_are_in_tidy_tables(folder: Path) -> None:
    load = table(folder, "load")
    mass = [row for row in table(folder, "mass") if row["kind"] == "all" and row["k"] == 1]
    pairs = {
        (row["layer"], row["first"], row["second"]): row for row in table(folder, "coactivation")
    }

    assert load[0] == {
        "layer": "model.layers.1.mlp",
        "kind": "all",
        "group": "all",
        "expert": 0,
        "tokens": N_TOKENS,
        "share": 0.5,
    }
    assert {row["layer"]: round(row["retained"], 4) for row in mass} == {
        "model.layers.1.mlp": 0.75,
        "model.layers.2.mlp": 0.625,
        "model.layers.3.mlp": 0.55,
        None: 0.6417,
    }
    assert len(pairs) == 3 * 4 * 3
    assert pairs["model.layers.2.mlp", 0, 1]["share_of_first"] == 1
    # No token chose this expert, so nothing is known of its tokens.
    assert pairs["model.layers.1.mlp", 2, 3]["lift"] is None
    (one, *_) = table(folder, "frequent_tokens")
    assert one["text"] in {" the", " a"}


def test_traces_can_be_read_again(folder: Path) -> None:
    assert read_trace(folder / "traces").n_tokens == N_TOKENS
    assert read_trace(folder / "traces-against").model == "another/model"
