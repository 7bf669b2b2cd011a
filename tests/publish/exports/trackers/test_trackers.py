"""Each tracker's own client takes a sweep offline: a run for each k, and the report."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError, MissingDependencyError
from moe_eval_plugin.publish.exports.trackers import EXPORTERS, study
from moe_eval_plugin.publish.exports.trackers.study import PAGE, Study, TrackedRun
from moe_eval_plugin.results.files import find_runs
from tests.report.report_runs import write_run, write_sweep, wrong_every
from tests.results.timing.timed_files import around

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moe_eval_plugin.results.run import Run

METRICS = {"score": 97.5, "speed_up": 2.0}
SMALL = Study(
    "mysweep",
    (
        TrackedRun("k=8", {"model": "demo", "k": 8.0}, METRICS),
        TrackedRun("k=4", {"model": "demo", "k": 4.0, "version.torch": "2"}, METRICS),
    ),
    "Accuracy and speed.",
    {"table.md": "| k |\n| --- |\n| 8 |\n", PAGE: "<!DOCTYPE html>"},
    ("A note.",),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("sweeps") / "mysweep"
    seconds = {"k8": around(4), "k4": around(2)}
    return find_runs(write_sweep(folder, {8: wrong_every(40), 4: wrong_every(20)}, seconds))


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No client can leave this folder."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "MLFLOW_TRACKING_URI": (tmp_path / "runs").as_uri(),
        "HF_HUB_OFFLINE": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_a_study_has_a_run_for_each_k_with_its_numbers_and_versions(runs: list[Run]) -> None:
    found = study.study_of(runs, None, "wandb")
    eight, four = found.runs

    assert (found.group, eight.name, four.name) == ("mysweep", "k=8", "k=4")
    assert four.config["model"] == "demo"
    assert four.config["k"] == 4
    assert four.config["task"] == "easy_vqa"
    assert four.config["version.lmms-eval"] == "0.7.3"
    assert four.metrics["observed_num_experts_per_tok"] == 4
    assert four.metrics["speed_up"] == pytest.approx(2, abs=0.02)
    assert four.metrics["score_low"] < four.metrics["score"] < four.metrics["score_high"]
    assert set(found.files) == {"table.md", "table.csv", PAGE}
    assert "/" not in "".join(str(value) for value in four.config.values() if value != "demo")


def test_settings_of_several_models_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "_page", lambda *_: ({}, ()))
    for model in ("a/one", "a/two"):
        write_run(tmp_path / model, 8, pretrained=model)

    names = [one.name for one in study.study_of(find_runs(tmp_path), None, "wandb").runs]

    assert names == ["a/one, k=8", "a/two, k=8"]


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda one: one.name)
def test_a_missing_client_is_named_with_its_extra(
    exporter: Any, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "find_spec", lambda _: None)

    with pytest.raises(MissingDependencyError, match=rf"moe-eval-plugin\[{exporter.name}\]"):
        exporter.export(runs, None)


def records_in(path: Path) -> Iterator[Any]:
    """Yield the records of a run that was written offline."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store = DataStore()
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        yield wandb_internal_pb2.Record.FromString(data)
    store.close()


def test_weights_and_biases(offline: Path) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from moe_eval_plugin.publish.exports.trackers.wandb import send

    notes = send(SMALL).notes

    found = {}
    for path in offline.glob("wandb/offline-run-*/*.wandb"):
        records = list(records_in(path))
        (run,) = [one.run for one in records if one.HasField("run")][:1]
        updates = [item for one in records for item in one.summary.update]
        summary = {item.key: json.loads(item.value_json) for item in updates}
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert (run.run_group, run.project) == ("mysweep", "moe-eval")
        found[run.display_name] = (config.get("k"), summary)
    assert set(found) == {"k=8", "k=4", "report"}
    k, summary = found["k=4"]
    assert k == 4
    assert summary.items() >= METRICS.items()
    assert notes[0].startswith("2 runs and their report, group mysweep: ")
    assert notes[1:] == SMALL.notes


def test_trackio(offline: Path) -> None:
    pytest.importorskip("trackio", reason="the extra trackio is not installed")
    from moe_eval_plugin.publish.exports.trackers.trackio import send

    notes = send(SMALL).notes

    database = sqlite3.connect(offline / "trackio" / "moe-eval.db")
    metrics = dict(database.execute("select run_name, metrics from metrics"))
    configs = dict(database.execute("select run_name, config from configs"))
    database.close()
    assert set(metrics) == {"k=8", "k=4", "report"}
    assert json.loads(metrics["k=4"]) == METRICS
    assert json.loads(configs["k=4"])["k"] == 4
    assert json.loads(configs["k=4"])["_Group"] == "mysweep"
    assert "| 8 |" in json.loads(metrics["report"])["table"]["_value"]
    assert 'trackio show --project "moe-eval"' in notes[0]


def test_mlflow(offline: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow import MlflowClient

    from moe_eval_plugin.publish.exports.trackers.mlflow import send

    notes = send(SMALL).notes

    client = MlflowClient()
    experiment = client.get_experiment_by_name("moe-eval")
    assert experiment is not None
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("mysweep")
    assert set(runs) == {"k=8", "k=4"}
    assert runs["k=4"].data.metrics == METRICS
    assert runs["k=4"].data.params == {"model": "demo", "k": "4.0", "version.torch": "2"}
    assert {one.data.tags["mlflow.parentRunId"] for one in runs.values()} == {parent.info.run_id}
    assert sorted(path.name for path in offline.rglob("artifacts/*")) == ["report.html", "table.md"]
    assert notes[0].endswith((offline / "runs").as_uri())


def test_a_server_that_cannot_be_reached_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from moe_eval_plugin.publish.exports.trackers.mlflow import send

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with pytest.raises(DataError, match="MLFLOW_TRACKING_URI"):
        send(SMALL)
