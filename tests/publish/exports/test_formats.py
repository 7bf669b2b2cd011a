"""Exporters: how they are found by name, and how their files are written, all or none."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path, PurePath
from types import ModuleType

import pytest

from moe_eval_plugin.errors import InvalidArgumentError, PluginLoadError
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.plugins.manager import ENTRY_POINT_GROUP, build_manager, registered_exporters
from moe_eval_plugin.publish.exports.formats import common_folder, find_exporter, render_formats
from tests.results.run_files import write_run
from tests.results.sample_runs import (
    measured_from_outside,
    results,
    written,
)

OUR_ENTRY = EntryPoint("exporters", "moe_eval_plugin.publish.exports", ENTRY_POINT_GROUP)


every_format = pytest.mark.parametrize(
    "name", ["csv", "every-eval-ever", "hf-eval-results", "markdown", "model-index"]
)


def nothing(_runs: object, _task: object) -> Exported:
    return Exported({})


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("third_party_plugin")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def entry() -> EntryPoint:
    return EntryPoint("third", "third_party_plugin", ENTRY_POINT_GROUP)


def test_our_own_exporters_come_in_by_the_hook() -> None:
    ours = registered_exporters(build_manager([OUR_ENTRY]))
    assert {"evalai", "okvqa"} <= ours.keys()
    assert registered_exporters(build_manager([])) == {}


@pytest.mark.parametrize(
    ("call", "unwanted"),
    [
        (
            "plugin_manager()",
            ("moe_eval_plugin.publish.exports.submission", "moe_eval_plugin.vqa.official_data"),
        ),
        ("registered_exporters()", ("torch", "transformers", "lmms_eval", "datasets", "ijson")),
    ],
)
def test_plugins_and_formats_are_listed_fast(call: str, unwanted: tuple[str, ...]) -> None:
    program = (
        f"import sys; from moe_eval_plugin.plugins.manager import *; {call}; "
        f"print([name for name in {unwanted} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_third_party_adds_an_exporter(third_party: ModuleType) -> None:
    exporter = Exporter("mine", "a format of mine", nothing)
    third_party.moe_eval_register_exporters = hookimpl(lambda: [exporter])  # type: ignore[attr-defined]
    assert registered_exporters(build_manager([entry()])) == {"mine": exporter}


def test_a_name_that_is_there_twice_is_an_error_with_both_origins(third_party: ModuleType) -> None:
    exporter = Exporter("evalai", "another one", nothing)
    third_party.moe_eval_register_exporters = hookimpl(lambda: [exporter])  # type: ignore[attr-defined]
    with pytest.raises(PluginLoadError, match="exporter evalai is registered twice") as caught:
        registered_exporters(build_manager([OUR_ENTRY, entry()]))
    assert "exporters (moe_eval_plugin.publish.exports)" in str(caught.value)
    assert "third (third_party_plugin)" in str(caught.value)


def test_an_exporter_is_found_by_its_name() -> None:
    assert find_exporter("evalai").name == "evalai"


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"No format is called eval. Did you mean evalai.*csv.*okvqa"
    ):
        find_exporter("eval")


def test_formats_are_listed_with_their_summaries() -> None:
    lines = re.sub(r"\n +", " ", render_formats()).splitlines()
    known = registered_exporters()
    assert [line.split()[0] for line in lines] == sorted(known)
    assert all(line.endswith(f"  {known[line.split()[0]].summary}") for line in lines)


def test_files_lie_in_the_folder_that_was_named_or_in_the_one_of_all(tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / "runs" / name, {}) for name in ("a", "b"))
    assert common_folder([one]) == common_folder([one.parent]) == tmp_path / "runs" / "a"
    assert common_folder([one, two.parent]) == tmp_path / "runs"


@pytest.mark.parametrize(
    "task", ["a/b", "../x", "a\nb", "q\"u'o", "ünï", "\0", " ", "", "a" * 300], ids=ascii
)
@every_format
def test_every_format_takes_a_task_whatever_its_name(tmp_path: Path, name: str, task: str) -> None:
    content = results()
    for part in ("results", "configs", "higher_is_better", "n-samples", "moe_eval"):
        content[part][task] = content[part].pop("okvqa")
    exported = registered_exporters()[name].export(written(tmp_path, content), None)
    assert exported.files
    assert not any(".." in PurePath(path).parts for path in exported.files)


@every_format
def test_every_format_takes_a_long_schedule(tmp_path: Path, name: str) -> None:
    runs = []
    for number, k in enumerate(("0-1:8", "0-1:4")):
        content = results()
        schedule = "/".join([*(f"{layer}:8" for layer in range(2, 94)), k])
        content["moe_eval"]["okvqa"]["experts"] |= {"experts_k": schedule, "requested": None}
        runs += written(tmp_path / str(number), content)
    exported = registered_exporters()[name].export(runs, None)
    names = [PurePath(path).name for path in exported.files]
    assert all(len(name) < 120 for name in names)
    assert len(set(names)) == (2 if name in ("every-eval-ever", "hf-eval-results") else 1)


@every_format
def test_every_format_takes_a_record_without_k(tmp_path: Path, name: str) -> None:
    (run,) = written(tmp_path, measured_from_outside())
    exported = registered_exporters()[name].export([run], None)
    assert exported.files
    assert "None" not in "".join(map(str, exported.files.values()))
