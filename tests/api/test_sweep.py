"""The arguments of ``sweep``: what is refused at once, the folder, and the command that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import moe_eval_plugin as moe
from moe_eval_plugin.api.python_names import python_names
from moe_eval_plugin.api.sweep import _command, _folder_name, _loaded
from moe_eval_plugin.api.sweeping.options import SweepOptions, make_plan, make_request
from moe_eval_plugin.api.sweeping.ready import SweepResult
from moe_eval_plugin.cli import build_parser
from moe_eval_plugin.commands.study_file import with_study
from moe_eval_plugin.commands.sweep import _requests
from moe_eval_plugin.errors import DataError, InvalidArgumentError, UserError
from moe_eval_plugin.sweeps.manifest import Entry, Manifest

OPTIONS: SweepOptions = {"seeds": [1, 2], "speed_budget": 0, "restart": True, "device": None}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"tasks": "easy_vqa", "limits": 3}, "no argument limits. Did you mean limit?"),
        ({"tasks": "easy_vqa", "limit": 0}, "limit 0 is not possible"),
        ({"tasks": ""}, "^tasks names no task"),
        ({"tasks": "easy_vqa", "speed_budget": -1}, "speed_budget=-1 is not possible"),
        ({"tasks": "easy_vqa", "model_args": {"experts_k": 4}}, "pass its values with experts_k"),
        ({"tasks": "easy_vqa", "include_path": "nothing"}, "include_path nothing is not a folder"),
        ({"tasks": "easy_vqa", "experts_k": [64]}, "experts_k=64 is too many"),
    ],
)
def test_a_wrong_argument_is_one_message(
    given: dict[str, Any], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=text):
        moe.sweep("demo", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_model_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"object is not its name.*experts_k sets k"):
        moe.sweep(object(), "easy_vqa")  # type: ignore[arg-type]


def test_the_same_questions_have_the_same_folder() -> None:
    plan = make_plan("moe_hf", "pretrained=demo", ["easy_vqa"], 300, {})
    assert _folder_name("demo", plan).startswith("demo-easy_vqa-")
    again = make_plan("moe_hf", "pretrained=demo", ["easy_vqa"], 300, {"speed_budget": 9})
    other = make_plan("moe_hf", "pretrained=demo", ["easy_vqa"], 301, {})
    names = [_folder_name("demo", one) for one in (plan, again, other)]
    assert names[0] == names[1] != names[2]


def test_the_command_of_a_sweep_makes_the_same_request() -> None:
    plan = make_plan("moe_hf", "pretrained=demo", ["easy_vqa", "okvqa"], 30, OPTIONS)
    command = _command(plan, ("8", "4"), Path("runs/a"), OPTIONS)
    assert command[:2] == ("moe-eval", "sweep")
    assert "--restart" in command
    parsed = build_parser().parse_args([*command[1:]])
    [request] = _requests(with_study(parsed))
    ours = make_request(Path("runs/a"), plan, ["8", "4"], OPTIONS, request.command)
    assert request == ours


def test_a_sweep_without_a_result_is_an_error(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, {})
    manifest.entries["k8"] = Entry({"name": "k8"}, "digest", "failed", reason="OSError: full")
    with pytest.raises(DataError, match="k8: OSError: full"):
        _loaded(tmp_path, SweepResult(manifest, ("k8",), 3, is_timed=False))


def test_only_known_options_get_their_python_names() -> None:
    message = "--speed-budget 3 and --open; `moe-eval sweep --speed-budget 4` and --speed-budget"
    with pytest.raises(UserError) as caught, python_names({"speed_budget"}):
        raise UserError(message)
    wanted = "speed_budget 3 and --open; `moe-eval sweep --speed-budget 4` and speed_budget"
    assert str(caught.value) == wanted
