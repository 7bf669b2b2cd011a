"""Size of the weight files of a model: on disk, in the Hub's cache, or on the Hub."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import ask_hub, resolve
from moe_eval_plugin.models.weights.safetensors_header import count_elements, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from huggingface_hub import ModelInfo

# In the order in which transformers prefers them; each pattern names a whole set of files.
WEIGHT_FILES = (
    re.compile(r"model\.safetensors"),
    re.compile(r"model(\.safetensors)?-\d+-of-\d+\.safetensors"),
    re.compile(r"(?!adapter|consolidated)[^/]*\.safetensors"),
    re.compile(r"pytorch_model\.bin"),
    re.compile(r"pytorch_model-\d+-of-\d+\.bin"),
)


@dataclass(frozen=True)
class WeightSize:
    """Bytes of the weight files of a model, and bytes that are still to be downloaded.

    ``elements`` is the number of elements stored in each safetensors dtype (``BF16`` -> count); it
    is empty where the files do not state it.
    """

    total_bytes: int
    download_bytes: int = 0
    elements: Mapping[str, int] = field(default_factory=dict)


def weight_size(pretrained: str, revision: str | None = None) -> WeightSize | None:
    """Return the size of a model's weight files, on disk or on the Hub; ``None`` if unknown."""
    name = resolve(pretrained)
    if is_folder(name):
        return _size_on_disk(Path(name))
    info = ask_hub(name, revision, files_metadata=True)
    if info is not None:
        return _size_on_hub(name, info)
    snapshot = cached_snapshot(name, revision)
    return _size_on_disk(snapshot) if snapshot else None


def choose_weight_files(names: Iterable[str]) -> list[str]:
    """List the files that transformers would load: safetensors before ``.bin``, one set of them.

    Copies in other formats, in sub-folders or in another precision are left out.
    """
    known = list(names)
    for pattern in WEIGHT_FILES:
        chosen = [name for name in known if pattern.fullmatch(name)]
        if chosen:
            return sorted(chosen)
    return []


def _size_on_disk(folder: Path) -> WeightSize | None:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    names = choose_weight_files(sizes)
    if not names:
        return None
    elements: Counter[str] = Counter()
    for name in names:
        if name.endswith(".safetensors"):
            elements.update(count_elements(read_header(folder / name)))
    return WeightSize(sum(sizes[name] for name in names), elements=dict(elements))


def _size_on_hub(name: str, info: ModelInfo) -> WeightSize | None:
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    chosen = {file: sizes[file] for file in choose_weight_files(sizes)}
    known = {file: n_bytes for file, n_bytes in chosen.items() if n_bytes is not None}
    if not known or len(known) < len(chosen):
        return None
    return WeightSize(
        total_bytes=sum(known.values()),
        download_bytes=sum(n for file, n in known.items() if not _is_cached(name, file, info.sha)),
        elements=dict(info.safetensors.parameters) if info.safetensors else {},
    )


def _is_cached(name: str, file: str, commit: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, file, revision=commit), str)


def cached_snapshot(name: str, revision: str | None) -> Path | None:
    """Return the folder of a model in the Hub's cache; ``None`` where it is not cached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
