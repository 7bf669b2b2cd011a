"""Finished runs as a Python program reads them, from files with known answers."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import moe_eval_plugin as moe
from moe_eval_plugin.errors import DataError, InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.sweeps.manifest import Entry, Manifest
from tests.publish.bundle.finished_sweeps import SETTINGS, point, results_of, write_sweep
from tests.report.report_runs import one_per_image, records, right, write_run, wrong_every

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("runs") / "sweep", rates={8: [10.0], 2: [15.0]})


@pytest.fixture(scope="module")
def sweep(folder: Path) -> moe.Sweep:
    return moe.load(folder)


def test_a_sweep_is_read_from_its_folder(sweep: moe.Sweep, folder: Path) -> None:
    assert sweep.tasks == ("easy_vqa",)
    assert [one.label for one in sweep] == ["k=8", "k=2"]
    assert len(sweep) == 2
    assert sweep.unfinished == {}
    assert repr(sweep).startswith(f"{folder}\nSetting")


def test_a_setting_has_its_numbers_in_points(sweep: moe.Sweep, folder: Path) -> None:
    found = sweep[2]
    assert found == sweep["k=2"] == sweep["2"] == sweep[2, "easy_vqa"]
    assert (found.accuracy, found.loss, found.k, found.observed_k) == (75.0, 25.0, 2, 2)
    assert found.loss_interval is not None
    low, high = found.loss_interval
    assert 0 < low < 25 < high
    assert found.speed_up is not None
    assert found.speed_up.ratio == pytest.approx(1.5)
    assert found.results == (results_of(folder, "k2"),)
    assert sweep[8].is_baseline
    assert sweep[8].loss is None
    with pytest.raises(KeyError, match="no setting 3; the settings are: k=8 on easy_vqa"):
        sweep[3]


def test_the_table_is_text_html_and_data(sweep: moe.Sweep) -> None:
    table = sweep.table
    assert repr(table).splitlines()[0].startswith("Setting  Observed k")
    frame = table.to_pandas()
    assert list(frame["setting"]) == ["k=8", "k=2"]
    assert frame["difference_low"][1] < -25 < frame["difference_high"][1]
    assert frame.equals(sweep.to_pandas())
    assert [row["score"] for row in table] == [100.0, 75.0]
    assert table.to_csv().splitlines()[0].startswith("model,task,setting")
    assert len(table) == 2


def test_the_answer_is_that_of_the_report(tmp_path: Path) -> None:
    questions = one_per_image(200)
    write_run(tmp_path / "k8", 8, wrong_every(10), questions)
    write_run(tmp_path / "k4", 4, wrong_every(8), questions)
    sweep = moe.load(tmp_path)
    assert sweep.recommend().margin_points == 1
    wide = sweep.recommend(within=50)
    assert (wide.setting, wide.recommended) == ("k=4", None)  # its speed was timed once
    assert wide.loss_points == pytest.approx(2.5)
    assert str(wide) == wide.sentence
    for wrong in (0, -1, float("nan"), "1"):
        with pytest.raises(InvalidArgumentError, match="within="):
            sweep.recommend(within=wrong)  # type: ignore[arg-type]


def test_what_is_not_done_is_said(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    manifest = Manifest(folder, SETTINGS)
    done = str(results_of(folder, "k8").relative_to(folder))
    manifest.entries["k8"] = Entry(point(8), "digest", "done", done)
    manifest.entries["k2"] = Entry(point(2), "digest", "failed", reason="OSError: no space")
    manifest.save()
    sweep = moe.load(folder)
    assert sweep.unfinished == {"k2": "OSError: no space"}
    assert "Not done: k2: OSError: no space" in repr(sweep)
    assert "Not done: k2: OSError: no space" in sweep._repr_html_()


def test_a_folder_is_shown_as_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = moe.load(write_sweep(tmp_path / "sweep", {8: right, 4: right}))
    assert f"<code>{tmp_path}" in sweep._repr_html_()
    monkeypatch.chdir(tmp_path)
    assert repr(sweep).startswith("sweep\n")
    assert sweep._repr_html_().startswith("<p><code>sweep</code></p>")


def test_several_tasks_or_models_need_a_choice(tmp_path: Path) -> None:
    write_run(tmp_path / "a8", 8, right, records(60))
    write_run(tmp_path / "b8", 8, right, records(60), pretrained="org/other")
    sweep = moe.load(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"several models or set-ups \(demo; org/other"):
        sweep.recommend()
    with pytest.raises(KeyError, match="2 settings 8"):
        sweep[8]
    with pytest.raises(InvalidArgumentError, match="task='okvqa' is not in"):
        sweep.plot(task="okvqa")


def test_a_chart_and_a_page(sweep: moe.Sweep, tmp_path: Path) -> None:
    chart: Any = sweep.plot()
    assert "change in accuracy, points" in json.dumps(chart.to_dict())
    page = sweep.report(tmp_path / "page.html", within=2)
    assert page.read_text("utf-8").startswith("<!")
    assert (tmp_path / "page_files" / "table.csv").is_file()
    (tmp_path / "mine.html").write_text("mine", "utf-8")
    with pytest.raises(InvalidArgumentError, match="Add force=True to overwrite"):
        sweep.report(tmp_path / "mine.html")


def test_one_setting_has_no_chart(tmp_path: Path) -> None:
    write_run(tmp_path, 8)
    with pytest.raises(InvalidArgumentError, match="a chart needs two settings"):
        moe.load(tmp_path).plot()


def test_a_chart_without_its_extra(sweep: moe.Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    for name in [name for name in sys.modules if name.startswith("moe_eval_plugin.report.charts")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[report\]"):
        sweep.plot()


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no results"):
        moe.load(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        moe.load(tmp_path / "nothing")
