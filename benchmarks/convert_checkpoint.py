"""Measure the time and memory of converting a checkpoint of FLAME-MoE's size.

Run ``python benchmarks/convert_checkpoint.py --size 290m`` in an environment with the package. It
writes a checkpoint with random weights in bfloat16 as Megatron-core divides it: a chunk for each
matrix of an expert, in two files for each of 8 ranks. A process of its own then converts it. The
checkpoint and the result need twice the size of the weights on the disk, which is stated first. The
exit code is 1 if the conversion takes 2 GB of memory or more.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_BYTES = 2 * 1000**3
FILES = [f"__{rank}_{part}.distcp" for rank in range(8) for part in range(2)]
VOCABULARY, HEADS, EXPERTS, K = 50304, 16, 64, 6
CONVERT = """
import resource, sys
from moe_eval_plugin.cli import main
code = main(["convert", "flame-moe", *sys.argv[1:], "--quiet"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""


class Size(NamedTuple):
    """A model of the suite."""

    n_layers: int
    hidden: int
    dense_width: int
    expert_width: int


SIZES = {
    "tiny": Size(2, 64, 96, 16),
    "38m": Size(9, 256, 1368, 176),
    "290m": Size(9, 1024, 5472, 704),
    "1.7b": Size(18, 2048, 10944, 1408),
}


def tensors(size: Size, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield key and shape of each weight, as TransformerEngine's layers name them."""
    hidden, width = size.hidden, size.expert_width
    yield "embedding.word_embeddings.weight", (vocabulary, hidden)
    for layer in range(size.n_layers):
        prefix = f"decoder.layers.{layer}."
        yield f"{prefix}self_attention.linear_qkv.layer_norm_weight", (hidden,)
        yield f"{prefix}self_attention.linear_qkv.weight", (3 * hidden, hidden)
        yield f"{prefix}self_attention.linear_proj.weight", (hidden, hidden)
        if layer == 0:
            yield f"{prefix}mlp.linear_fc1.layer_norm_weight", (hidden,)
            yield f"{prefix}mlp.linear_fc1.weight", (2 * size.dense_width, hidden)
            yield f"{prefix}mlp.linear_fc2.weight", (hidden, size.dense_width)
            continue
        experts, shared = f"{prefix}mlp.experts.experts.", f"{prefix}mlp.shared_experts."
        yield f"{prefix}pre_mlp_layernorm.weight", (hidden,)
        yield f"{prefix}mlp.router.weight", (EXPERTS, hidden)
        yield f"{experts}linear_fc1.weight", (EXPERTS, 2 * width, hidden)
        yield f"{experts}linear_fc2.weight", (EXPERTS, hidden, width)
        yield f"{shared}linear_fc1.weight", (4 * width, hidden)
        yield f"{shared}linear_fc2.weight", (hidden, 2 * width)
    yield "decoder.final_layernorm.weight", (hidden,)
    yield "output_layer.weight", (vocabulary, hidden)


def chunks(key: str, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield place and shape of each chunk: of experts one matrix, gate and other apart."""
    if len(shape) == 2 or len(shape) == 1:  # noqa: PLR2004  (no experts)
        yield (0,) * len(shape), shape
        return
    n_parts = 2 if "linear_fc1" in key else 1
    rows = shape[1] // n_parts
    for expert in range(shape[0]):
        for part in range(n_parts):
            yield (expert, part * rows, 0), (1, rows, shape[2])


def write_checkpoint(folder: Path, size: Size, vocabulary: int) -> int:
    """Write an iteration, one chunk after the other, and return the bytes of its files."""
    folder.mkdir(parents=True)
    described: dict[str, Any] = {}
    stored: dict[Any, Any] = {}
    properties = TensorProperties(dtype=torch.bfloat16)
    files = [(folder / name).open("wb") for name in FILES]
    for key, shape in tensors(size, vocabulary):
        places = list(chunks(key, shape))
        described[key] = TensorStorageMetadata(
            properties,
            torch.Size(shape),
            [ChunkStorageMetadata(torch.Size(one), torch.Size(of)) for one, of in places],
        )
        for number, (place, of) in enumerate(places):
            file = files[number * len(files) // len(places)]
            start = file.tell()
            torch.save(torch.randn(of).bfloat16(), file)
            index = MetadataIndex(key, torch.Size(place), number)
            name = Path(file.name).name
            stored[index] = _StorageInfo(name, start, file.tell() - start)
    for file in files:
        file.close()
    (folder / ".metadata").write_bytes(pickle.dumps(Metadata(described, None, stored)))
    (folder / "metadata.json").write_text(json.dumps({"sharded_backend": "torch_dist"}))
    torch.save(
        {"args": Namespace(num_attention_heads=HEADS, moe_router_topk=K)}, folder / "common.pt"
    )
    return sum(path.stat().st_size for path in folder.iterdir())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, convert and print what it took; 1 if it took too much memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="290m")
    parser.add_argument("--layers", type=int, help="fewer layers of the same width")
    parser.add_argument("--layout", default="deepseek")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    size = SIZES[options.size]
    size = size._replace(n_layers=options.layers or size.n_layers)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        source, output = Path(name, "iter_0000001"), Path(name, "model")
        vocabulary = VOCABULARY if options.size != "tiny" else 128
        n_bytes = write_checkpoint(source, size, vocabulary)
        command = [sys.executable, "-c", CONVERT, source, output, "--layout", options.layout]
        began = time.perf_counter()
        done = subprocess.run(  # noqa: S603  (our own command)
            [*map(str, command)], check=True, capture_output=True, text=True
        )
        seconds = time.perf_counter() - began
    memory = int(done.stdout.splitlines()[-1])
    print("\n".join(done.stdout.splitlines()[2:6]))
    print(
        f"{options.size}: {n_bytes / 1e9:.2f} GB converted in {seconds:.1f} s "
        f"({n_bytes / 1e6 / seconds:,.0f} MB/s), peak memory {memory / 1e9:.2f} GB"
    )
    return int(memory >= MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
