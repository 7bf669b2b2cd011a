"""Check that the files of a checkpoint are there and whole, before any of them is loaded.

Only names, sizes and headers are read. A checkpoint that is still to be downloaded has no files
here, and is not checked.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import BrokenCheckpointError
from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import resolve
from moe_eval_plugin.models.other_forms import (
    ADAPTER_FILE,
    download_command,
    explain_adapter,
    explain_folder,
    refuse_pointers,
)
from moe_eval_plugin.models.weights.safetensors_header import read_header
from moe_eval_plugin.models.weights.size import cached_snapshot, choose_weight_files
from moe_eval_plugin.text import first_few

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

INDEX_END = ".index.json"
# The files that transformers looks for, in its order.
FIRST_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What a tokenizer, a processor and a configuration are read from.
READ_AS_TEXT = {".json", ".jinja", ".model", ".tiktoken", ".txt"}
WEIGHT_ENDS = (".safetensors", ".bin", ".pt")
PICKLE_START = b"\x80"


def check_files(
    pretrained: str,
    revision: str | None = None,
    *,
    named: str | None = None,
    any_name: bool = False,
) -> None:
    """Raise ``BrokenCheckpointError`` for files that are missing, cut off, or of another form.

    ``named`` is the file of weights that the configuration names (``transformers_weights``), if it
    does. ``any_name`` accepts weights under any name, and an index without metadata, as vLLM does.
    """
    folder = _folder_here(resolve(pretrained), revision)
    if folder is None:
        return
    refuse_pointers([path for path in folder.iterdir() if path.suffix in READ_AS_TEXT])
    if (folder / ADAPTER_FILE).is_file():
        message = f"{folder} cannot be loaded as a model. {explain_adapter(folder)}"
        raise BrokenCheckpointError(message)
    found = _weight_files(folder, named, any_name=any_name)
    refuse_pointers(found.files)
    stored = frozenset(name for file in found.files for name in _names_in(file))
    missing = found.of_index - stored
    if missing and found.is_safetensors:
        message = (
            f"The index in {folder} names {len(missing)} weights that its files do not hold "
            f"(first: {min(missing)}), so it belongs to other files. Download it again: "
            f"{download_command(folder)}."
        )
        raise BrokenCheckpointError(message)


def check_files_if_any(pretrained: str, revision: str | None = None) -> None:
    """Raise what ``check_files`` raises, but accept a folder that has a configuration alone."""
    folder = _folder_here(resolve(pretrained), revision)
    names = [] if folder is None else [path.name for path in folder.iterdir()]
    if choose_weight_files(names) or any(name in names for name in FIRST_FILES):
        check_files(pretrained, revision, any_name=True)


@dataclass(frozen=True)
class _WeightFiles:
    """The files of a checkpoint, and the names of the weights that an index lists."""

    files: Sequence[Path]
    of_index: frozenset[str] = frozenset()

    @property
    def is_safetensors(self) -> bool:
        return all(file.suffix == ".safetensors" for file in self.files)


def _folder_here(name: str, revision: str | None) -> Path | None:
    """Return the folder of a checkpoint: as it was named, or in the cache if nothing is online."""
    from huggingface_hub import constants

    if is_folder(name):
        return Path(name)
    return cached_snapshot(name, revision) if constants.is_offline_mode() else None


def _weight_files(folder: Path, named: str | None, *, any_name: bool) -> _WeightFiles:
    """List the files that hold the weights; refuse a folder without them."""
    for name in [named] if named else FIRST_FILES:
        if name.endswith(INDEX_END) and (folder / name).is_file():
            return _shards(folder / name, needs_metadata=not any_name)
        if (folder / name).is_file():
            return _WeightFiles([folder / name])
    found = sorted(path for end in WEIGHT_ENDS for path in folder.glob(f"*{end}") if path.is_file())
    if any_name and found:
        return _WeightFiles(found)
    message = (
        f"{folder} has no weights that can be loaded: no {' or '.join(FIRST_FILES)}. "
        f"{explain_folder(folder) or _instead(folder, found)}"
    )
    raise BrokenCheckpointError(message)


def _instead(folder: Path, found: Sequence[Path]) -> str:
    """Return what to do with weights under other names, or without any."""
    links = [path for path in sorted(folder.iterdir()) if path.is_symlink() and not path.exists()]
    if links:
        return f"{first_few([path.name for path in links])}: links to files that are not there."
    if not found:
        return f"Download them: {download_command(folder)}."
    names = first_few(sorted(path.name for path in found))
    if len(found) == 1:
        return f"Rename {names} to model{found[0].suffix}, if it holds the whole model."
    return (
        f"It has {names}, and no index that lists which weight is in which. Download "
        f"model.safetensors{INDEX_END} too: {download_command(folder)}."
    )


def _shards(index: Path, *, needs_metadata: bool) -> _WeightFiles:
    """List the files that an index names; refuse one that cannot be read or is not complete."""
    folder = index.parent
    try:
        content = json.loads(index.read_bytes())
        of_weights: Mapping[str, str] = content["weight_map"]
        names = sorted(set(of_weights.values()))
        outside = [n for n in names if Path(n).is_absolute() or ".." in Path(n).parts]
        if needs_metadata:
            _ = content["metadata"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = (
            f"{index} cannot be read ({type(error).__name__}: {error}). It must be a JSON object "
            'with "metadata" and "weight_map", which names the file of each weight. '
            f"Download it again: {download_command(folder)}."
        )
        raise BrokenCheckpointError(message) from error
    if outside or not names:
        message = (
            f"{index} must name files of its folder, and names {first_few(outside) or 'none'}. "
            f"Download it again: {download_command(folder)}."
        )
        raise BrokenCheckpointError(message)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        message = (
            f"{len(missing)} of the {len(names)} files that {index} names are not there (first: "
            f"{missing[0]}). Download them: {download_command(folder)}."
        )
        raise BrokenCheckpointError(message)
    return _WeightFiles([folder / name for name in names], frozenset(of_weights))


def _names_in(file: Path) -> Iterable[str]:
    """Return the names of the weights in a safetensors file; refuse a file that is cut off."""
    if file.suffix == ".safetensors":
        return read_header(file)
    if file.suffix == ".bin" and not _is_whole_pickle(file):
        message = (
            f"{file} ({file.stat().st_size} bytes) is not a complete file of PyTorch. Download it "
            "again, or use the checkpoint in safetensors files."
        )
        raise BrokenCheckpointError(message)
    return ()


def _is_whole_pickle(file: Path) -> bool:
    """Whether a file is a zip archive with its end, or a pickle as PyTorch once wrote them."""
    if zipfile.is_zipfile(file):
        return True
    with file.open("rb") as opened:
        return opened.read(1) == PICKLE_START
