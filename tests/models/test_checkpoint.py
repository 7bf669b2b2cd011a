"""Resolving the name of a model, and reading its configuration from a folder or the cache."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from transformers import Qwen3MoeConfig

from moe_eval_plugin.errors import ModelNotFoundError, UserError
from moe_eval_plugin.models import checkpoint
from tests.models.fake_hub import Hub, published

if TYPE_CHECKING:
    from pathlib import Path


def folder_with(path: Path, text: str) -> str:
    (path / "config.json").write_text(text, encoding="utf-8")
    return str(path)


def test_default_is_the_variable_or_else_qwen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOE_EVAL_PRETRAINED", raising=False)
    assert checkpoint.default_pretrained() == "Qwen/Qwen3-VL-30B-A3B-Instruct"
    monkeypatch.setenv("MOE_EVAL_PRETRAINED", "some/model")
    assert checkpoint.default_pretrained() == "some/model"


def test_demo_is_the_embedded_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe_eval_plugin.models.demo.MODEL_PATH", tmp_path)
    folder_with(tmp_path, "{}")
    assert checkpoint.resolve("demo") == str(tmp_path)


def test_folder_is_itself_and_home_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_with(tmp_path, "{}")
    assert checkpoint.resolve(str(tmp_path)) == str(tmp_path)
    assert checkpoint.resolve("~") == str(tmp_path)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-VL-30B-A3B-Instruct", "gpt2", "a.b/c-d_1.5"])
def test_hub_ids_are_left_as_they_are(name: str) -> None:
    assert checkpoint.resolve(name) == name


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "a/b/c", "", "with space", ".."])
def test_what_is_neither_folder_nor_id_is_refused(name: str, tmp_path: Path) -> None:
    assert tmp_path.is_dir()
    with pytest.raises(ModelNotFoundError, match="pretrained=demo"):
        checkpoint.resolve(name)


def test_folder_without_config_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"holds no config\.json"):
        checkpoint.resolve(str(tmp_path))


def test_file_is_refused(tmp_path: Path) -> None:
    folder_with(tmp_path, "{}")
    with pytest.raises(ModelNotFoundError, match="is a file, and a folder is needed"):
        checkpoint.resolve(str(tmp_path / "config.json"))


def test_config_is_read_from_a_folder(tmp_path: Path) -> None:
    Qwen3MoeConfig(num_experts=6, num_experts_per_tok=3).save_pretrained(tmp_path)
    config = checkpoint.load_config(str(tmp_path))
    assert (config.model_type, config.num_experts, config.num_experts_per_tok) == (
        "qwen3_moe",
        6,
        3,
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"model_type": "qwen3', ModelNotFoundError, "not a valid JSON file"),
        ("[1, 2]", ModelNotFoundError, "not a JSON object"),
        ('{"a": 1}', UserError, r"without model_type, which transformers \d"),
        (
            '{"model_type": "martian"}',
            UserError,
            r"model type martian, which transformers \d.*Upgr",
        ),
        ('{"model_type": "qwen3_moe", "hidden_size": "x"}', UserError, "does not fit transformers"),
    ],
)
def test_broken_config_is_explained(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        checkpoint.load_config(folder_with(tmp_path, text))


def folder_with_code(path: Path, code: str) -> str:
    (path / "own_code.py").write_text(code, encoding="utf-8")
    auto_map = {"AutoConfig": "own_code.OwnConfig"}
    return folder_with(path, json.dumps({"model_type": "own", "auto_map": auto_map}))


CODE = """
from transformers import PretrainedConfig

class OwnConfig(PretrainedConfig):
    model_type = "own"
    answer = 42
"""


def test_code_of_the_model_runs_only_when_trusted(tmp_path: Path) -> None:
    name = folder_with_code(tmp_path, CODE)
    with pytest.raises(UserError, match="trust_remote_code=True"):
        checkpoint.load_config(name)
    assert checkpoint.load_config(name, trust_remote_code=True).answer == 42


def test_missing_package_of_the_models_code_is_named(tmp_path: Path) -> None:
    name = folder_with_code(tmp_path, "import package_of_nobody\n" + CODE)
    with pytest.raises(UserError, match="package_of_nobody"):
        checkpoint.load_config(name, trust_remote_code=True)


def test_offline_without_cache_is_quick_and_clear() -> None:
    start = time.perf_counter()
    with pytest.raises(
        ModelNotFoundError, match=r"not in the cache \(.*\), and HF_HUB_OFFLINE is set"
    ):
        checkpoint.load_config("somebody/not-in-the-cache")
    assert time.perf_counter() - start < 15


def test_cached_config_is_used_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0" * 40
    repository = tmp_path / "models--somebody--cached"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    Qwen3MoeConfig(num_experts=5).save_pretrained(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert checkpoint.load_config("somebody/cached").num_experts == 5


def test_configuration_comes_from_the_hub(fake_hub: type[Hub]) -> None:
    fake_hub.models["some/model"] = published({})
    assert checkpoint.load_config("some/model").num_experts == 7


def test_hub_has_no_such_model(fake_hub: type[Hub]) -> None:
    assert fake_hub.models == {}
    with pytest.raises(ModelNotFoundError, match="the Hub has no such model"):
        checkpoint.load_config("some/model")


def test_hub_has_no_such_revision(fake_hub: type[Hub]) -> None:
    fake_hub.models["some/model"] = published({})
    with pytest.raises(ModelNotFoundError, match="no revision v9"):
        checkpoint.load_config("some/model", "v9")


@pytest.mark.parametrize("where", ["error", "gate"])
def test_gated_model_says_how_to_get_in(fake_hub: type[Hub], where: str) -> None:
    fake_hub.models["some/model"] = {**published({}), where: "GatedRepo"}
    with pytest.raises(ModelNotFoundError, match=r"is gated: accept its conditions.*hf auth login"):
        checkpoint.load_config("some/model")


def test_hub_that_does_not_listen_is_found_out_at_once(
    fake_hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fake_hub.models == {}
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelNotFoundError, match="the Hub cannot be reached"):
        checkpoint.load_config("some/model")
