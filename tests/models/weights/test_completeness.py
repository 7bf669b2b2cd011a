"""Files that are missing, cut off or of another form: one message before any is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from moe_eval_plugin.errors import BrokenCheckpointError
from moe_eval_plugin.models.weights.completeness import check_files, check_files_if_any
from tests.models.fake_hub import COMMIT
from tests.models.weights.checkpoints import INDEX, POINTER, SHARD, sharded, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTSIDE = '{"metadata": {}, "weight_map": {"a": "../other.safetensors"}}'
OTHER_WEIGHT = f'{{"metadata": {{}}, "weight_map": {{"c": "{SHARD.format(1)}"}}}}'


def cut_off(folder: Path) -> None:
    file = folder / SHARD.format(2)
    file.write_bytes(file.read_bytes()[:-1])


def only(name: str, content: bytes = b"x") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in [*folder.glob("model*")]:
            path.unlink()
        if name:
            (folder / name).write_bytes(content)

    return change


def test_a_complete_checkpoint_passes(tmp_path: Path) -> None:
    check_files(str(sharded(tmp_path)))
    check_files("demo")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / SHARD.format(2)).unlink(), r"1 of the 2 files.*00002-of-00002.*hf down"),
        (lambda f: (f / INDEX).unlink(), "no index that lists which weight is in which"),
        (lambda f: write(f / INDEX, '{"metadata": {'), "cannot be read .JSONDecodeError"),
        (lambda f: write(f / INDEX, "[]"), '"metadata" and "weight_map"'),
        (lambda f: write(f / INDEX, '{"metadata": {}}'), "KeyError: 'weight_map'"),
        (lambda f: write(f / INDEX, '{"weight_map": {"a": "b"}}'), "KeyError: 'metadata'"),
        (lambda f: write(f / INDEX, '{"metadata": 1, "weight_map": {"a": 1}}'), "cannot be read"),
        (lambda f: write(f / INDEX, '{"metadata": {}, "weight_map": {}}'), "names none"),
        (lambda f: write(f / INDEX, OUTSIDE), r"names \.\./other\.safetensors"),
        (lambda f: write(f / INDEX, OTHER_WEIGHT), r"do not hold \(first: c\)"),
        (lambda f: write(f / INDEX, POINTER), f"{INDEX} in .*Git LFS.*git lfs pull"),
        (lambda f: write(f / SHARD.format(1), POINTER), r"00001-of-00002.*Git LFS"),
        (lambda f: write(f / "tokenizer.json", POINTER), r"tokenizer\.json in .*Git LFS"),
        (cut_off, r"00002-of-00002.*promises"),
        (lambda f: write(f / SHARD.format(1), b""), "header cannot be read"),
        (only("pytorch_model.bin", POINTER.encode()), r"pytorch_model\.bin in .*Git LFS"),
        (only("pytorch_model.bin", b"PK\x03\x04 cut off"), "not a complete file of PyTorch"),
        (only(""), r"no weights that can be loaded.*hf download"),
        (only("weights.safetensors"), r"Rename weights\.safetensors to model\.safetensors"),
        (only("model-q4.gguf"), "GGUF"),
        (only("consolidated.00.pth"), "form of the model's authors"),
        (only("flax_model.msgpack"), "Flax"),
        (only("zero_to_fp32.py"), "DeepSpeed"),
        (only("model.safetensors.index.json.lock"), "hf download"),
        (only("adapter_config.json", b'{"base_model_name_or_path": "a/b"}'), r"base model \(a/b\)"),
        (only("adapter_config.json", b"no JSON"), "merge_and_unload"),
    ],
)
def test_a_broken_checkpoint_is_explained(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    change(sharded(tmp_path))
    with pytest.raises(BrokenCheckpointError, match=message):
        check_files(str(tmp_path))


def test_a_link_without_its_file_is_named(tmp_path: Path) -> None:
    only("")(sharded(tmp_path))
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blob")
    with pytest.raises(BrokenCheckpointError, match=r"model\.safetensors: links to files that"):
        check_files(str(tmp_path))


def test_a_file_of_pytorch_passes(tmp_path: Path) -> None:
    only("")(sharded(tmp_path))
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    check_files(str(tmp_path))
    torch.save(
        {"a": torch.ones(2)}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False
    )
    check_files(str(tmp_path))


def test_vllm_reads_weights_of_any_name(tmp_path: Path) -> None:
    sharded(tmp_path)
    write(tmp_path / INDEX, f'{{"weight_map": {{"a": "{SHARD.format(1)}"}}}}')
    check_files(str(tmp_path), any_name=True)
    (tmp_path / INDEX).unlink()
    check_files(str(tmp_path), any_name=True)
    cut_off(tmp_path)
    with pytest.raises(BrokenCheckpointError, match="promises"):
        check_files(str(tmp_path), any_name=True)


def test_the_file_that_the_configuration_names_is_checked(tmp_path: Path) -> None:
    sharded(tmp_path)
    check_files(str(tmp_path), named=SHARD.format(1))
    cut_off(tmp_path)
    with pytest.raises(BrokenCheckpointError, match="promises"):
        check_files(str(tmp_path), named=SHARD.format(2))


def test_an_incomplete_download_is_refused_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    folder = sharded(repository / "snapshots" / COMMIT)
    check_files("some/model")
    (folder / SHARD.format(1)).unlink()
    with pytest.raises(BrokenCheckpointError, match="1 of the 2 files"):
        check_files("some/model")


def test_a_configuration_alone_can_be_inspected_and_half_of_the_weights_cannot(
    tmp_path: Path,
) -> None:
    sharded(tmp_path)
    (tmp_path / SHARD.format(1)).unlink()
    with pytest.raises(BrokenCheckpointError, match="1 of the 2 files"):
        check_files_if_any(str(tmp_path))
    only("")(tmp_path)
    check_files_if_any(str(tmp_path))
