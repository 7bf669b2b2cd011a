"""What is exported runs: programs are executed, and the experts that tokens use are observed."""

from __future__ import annotations

import json
import runpy
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.engines.vllm.set_k import KEY
from moe_eval_plugin.errors import InvalidArgumentError, UnsupportedFamilyError
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.publish.deployment.exports import WAYS, Exports, write_exports
from moe_eval_plugin.publish.deployment.setting import NamedModel, read_setting
from moe_eval_plugin.publish.deployment.tools import TARGETS
from moe_eval_plugin.publish.deployment.tools_text import render_tools
from tests.publish.deployment.tuned_files import BY_LAYER, policy_file, tuned_file

if TYPE_CHECKING:
    from pathlib import Path

DEMO = NamedModel("demo")


def exported(value: str, target: str = "all") -> Exports:
    return write_exports(read_setting(value, DEMO), target)


def texts(found: Exports) -> dict[str, str | None]:
    return {one.way: one.text for one in found.exports}


def executed(text: str, folder: Path) -> dict[str, Any]:
    """Run a program, and return its variables."""
    path = folder / "program.py"
    path.write_text(text, "utf-8")
    return runpy.run_path(str(path))


def k_of_layers(names: dict[str, Any]) -> dict[int | None, set[int]]:
    """Observe the model that a program loaded, with the program's own inputs."""
    with observe(names["model"]) as pending:
        names["model"].generate(**names["inputs"], max_new_tokens=2)
    return {layer_number(path): set(ks) for path, ks in pending.result().by_layer().items()}


@pytest.mark.filterwarnings("ignore:.*generation flags.*")
def test_the_programs_for_transformers_run_and_tokens_use_the_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = exported(str(tuned_file(tmp_path)), "transformers")
    names = executed(found.text, tmp_path)
    # The program with this package observes by itself; the one without it is observed here.
    assert [*names["experts"].layers.values()] == [*BY_LAYER.values()]
    assert "observed 2 in 4 of 4 layers" in capsys.readouterr().out
    assert k_of_layers(names) == {layer: {k} for layer, k in BY_LAYER.items()}


def test_a_program_with_a_policy_or_with_phases_needs_the_package(tmp_path: Path) -> None:
    for value in (str(policy_file(tmp_path)), "8/decode:2"):
        found = exported(value, "transformers")
        ours, alone = found.exports
        assert ours.text
        assert alone.text is None
        names = executed(ours.text, tmp_path)
        assert names["experts"].observed < 8
        assert f"Not possible: {alone.reason}" in " ".join(found.text.split()).replace("# ", "")
        # What is not possible is a comment, so that all of it stays a program.
        compile(found.text, "both", "exec")


def test_the_command_for_vllm_has_the_table_that_our_engine_writes(tmp_path: Path) -> None:
    (export,) = exported(str(tuned_file(tmp_path)), "vllm").exports
    words = shlex.split(str(export.text))
    assert words[:2] == ["vllm", "serve"]
    table = {str(layer): k for layer, k in BY_LAYER.items()}
    assert json.loads(words[words.index("--hf-overrides") + 1]) == {KEY: table}
    (uniform,) = exported("4", "vllm").exports
    assert json.loads(shlex.split(str(uniform.text))[-1]) == {KEY: {"every": 4}}


@pytest.mark.parametrize("value", ["text:8/image:2", "prefill:8/decode:2", "POLICY"])
def test_vllm_and_llama_cpp_refuse_what_their_layers_cannot_do(value: str, tmp_path: Path) -> None:
    value = str(policy_file(tmp_path)) if value == "POLICY" else value
    for target in ("vllm", "llama.cpp"):
        with pytest.raises(UnsupportedFamilyError, match="transformers with moe-eval-plugin"):
            exported(value, target)
    found = exported(value)
    assert [one.way for one in found.exports if one.text] == ["transformers with moe-eval-plugin"]
    assert [one.tool for one in found.tools if one.is_able] == ["transformers with moe-eval-plugin"]


def test_one_number_goes_to_llama_cpp_and_a_list_does_not(tmp_path: Path) -> None:
    (export,) = exported("0-1:4/2-3:4", "llama.cpp").exports
    assert "--override-kv qwen3vlmoe.expert_used_count=int:4\n" in str(export.text)
    assert "--moeexperts 4\n" in str(export.text)
    with pytest.raises(UnsupportedFamilyError, match=r"one number for all layers.*nemotron_h_moe"):
        exported(str(tuned_file(tmp_path)), "llama.cpp")


def test_each_tool_is_said_to_run_it_or_not(tmp_path: Path) -> None:
    able = {
        value: {one.tool for one in exported(value).tools if one.is_able}
        for value in ("4", str(tuned_file(tmp_path)))
    }
    every, by_layer = able.values()
    assert {"llama.cpp", "KoboldCpp", "LM Studio", "SGLang", "vLLM alone"} == every - by_layer
    assert by_layer == {
        "transformers with moe-eval-plugin",
        "transformers alone",
        "vLLM with moe-eval-plugin",
    }
    found = exported("4")
    assert set(found.to_dict()["tools"][0]) == {*asdict(found.tools[0])}
    assert "Checked on 2026-11-29: transformers 5.24.0, vLLM 0.32.0" in render_tools(found)


def test_an_export_needs_a_model() -> None:
    assert {way[0] for way in WAYS} == {*TARGETS}
    with pytest.raises(InvalidArgumentError, match="--model MODEL"):
        write_exports(read_setting("4"), "all")
