from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.weights import size as weight_files
from moe_eval_plugin.models.weights.size import WeightSize
from tests.models.fake_hub import COMMIT, SHARDS, Hub, folder_with_weights, published

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", *SHARDS, "pytorch_model.bin"], ["model.safetensors"]),
        ([*SHARDS, "consolidated.safetensors", "model.safetensors.index.json"], SHARDS),
        ([*SHARDS, "onnx/model.onnx", "original/model.safetensors"], SHARDS),
        (
            ["model.safetensors-00001-of-00002.safetensors", "tokenizer.json"],
            ["model.safetensors-00001-of-00002.safetensors"],
        ),
        (
            ["layers-0.safetensors", "layers-1.safetensors"],
            ["layers-0.safetensors", "layers-1.safetensors"],
        ),
        (
            ["pytorch_model-00001-of-00001.bin", "training_args.bin"],
            ["pytorch_model-00001-of-00001.bin"],
        ),
        (["adapter_model.safetensors", "config.json"], []),
    ],
)
def test_one_set_of_weight_files_is_chosen(names: list[str], chosen: list[str]) -> None:
    assert weight_files.choose_weight_files(names) == chosen


def test_size_on_disk_with_what_the_files_hold(tmp_path: Path) -> None:
    folder = folder_with_weights(tmp_path)
    n_bytes = sum((folder / name).stat().st_size for name in SHARDS)
    expected = WeightSize(n_bytes, download_bytes=0, elements={"BF16": 30, "I8": 4, "F32": 5})
    assert weight_files.weight_size(str(folder)) == expected


def test_folder_without_weights_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert weight_files.weight_size(str(tmp_path)) is None


def test_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    folder = folder_with_weights(tmp_path)
    whole = (folder / SHARDS[1]).read_bytes()
    for end, reason in ((-1, "promises"), (20, "header cannot be read")):
        (folder / SHARDS[1]).write_bytes(whole[:end])
        with pytest.raises(UserError, match=rf"{SHARDS[1]}.*{reason}.*Download it again"):
            weight_files.weight_size(str(folder))


def test_size_on_the_hub_less_what_is_cached(fake_hub: type[Hub], tmp_path: Path) -> None:
    info = {"safetensors": {"parameters": {"BF16": 150}, "total": 150}}
    fake_hub.models["some/model"] = published({SHARDS[0]: 100, SHARDS[1]: 200, "x.bin": 5}, **info)
    expected = WeightSize(300, download_bytes=300, elements={"BF16": 150})
    assert weight_files.weight_size("some/model") == expected
    snapshot = tmp_path / "cache" / "models--some--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / SHARDS[0]).write_bytes(b"x" * 100)
    size = weight_files.weight_size("some/model")
    assert size is not None
    assert (size.total_bytes, size.download_bytes) == (300, 200)


def test_size_that_the_hub_does_not_say_is_unknown(fake_hub: type[Hub]) -> None:
    fake_hub.models["some/model"] = published({SHARDS[0]: 100, SHARDS[1]: None})
    assert weight_files.weight_size("some/model") is None


def test_cached_model_is_measured_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--some--model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    folder_with_weights(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    size = weight_files.weight_size("some/model")
    assert size is not None
    assert size.elements["BF16"] == 30
