"""Measure the time and the memory of ``moe-eval convert flame-moe``, against a copy of the bytes.

Run ``python benchmarks/convert_speed.py`` with 8 GB free on the disk of ``--folder``. It writes a
checkpoint of the size of FLAME-MoE-290M-1.3B in Megatron's format, with random weights in bfloat16
and Megatron's names and chunks. Each round copies its files and converts it, in processes of their
own that take turns to be first. The ratio is that of the two in the same round. The result is
checked: all parameters are there, and some tensors are compared with what was written. The program
exits with 1 if they differ. All files are deleted at the end.

Peak memory is that of the process at its largest, with the parts of files that are mapped into it.
``--short`` takes a small model and one round: enough to see that it runs.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from zlib import crc32

import torch
from safetensors import safe_open
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

ITERATION = "iter_0000100"
DATA = "__0_0.distcp"
BACKENDS = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
# Reads and writes the files, so that no file system can share the bytes instead.
COPY = """
import sys
from pathlib import Path
source, target = map(Path, sys.argv[1:])
target.mkdir()
for path in source.iterdir():
    with path.open("rb") as reading, (target / path.name).open("wb") as writing:
        while data := reading.read(2**24):
            writing.write(data)
"""
# A process begins with the memory of the one that starts it, so a small one does.
MEASURE = """
import os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
wall_s = time.perf_counter() - begin
process.returncode = os.waitstatus_to_exitcode(status)
print()
print(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(process.returncode)
"""
BYTES_PER_PARAMETER = 2
MEGABYTE = 10**6


@dataclass(frozen=True)
class Shape:
    """A model of FLAME-MoE's architecture; its first layer has no experts."""

    layers: int = 9
    hidden: int = 1024
    heads: int = 16
    ffn: int = 5472
    moe_ffn: int = 704
    experts: int = 64
    vocab: int = 50304

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...], int]]:
        """Yield key and shape of each tensor, and the number of its chunks of experts' rows."""
        h, f = self.hidden, self.moe_ffn
        yield "embedding.word_embeddings.weight", (self.vocab, h), 1
        for number in range(self.layers):
            prefix = f"decoder.layers.{number}."
            yield f"{prefix}self_attention.linear_qkv.layer_norm_weight", (h,), 1
            yield f"{prefix}self_attention.linear_qkv.weight", (3 * h, h), 1
            yield f"{prefix}self_attention.linear_proj.weight", (h, h), 1
            if number == 0:
                yield f"{prefix}mlp.linear_fc1.layer_norm_weight", (h,), 1
                yield f"{prefix}mlp.linear_fc1.weight", (2 * self.ffn, h), 2
                yield f"{prefix}mlp.linear_fc2.weight", (h, self.ffn), 1
                continue
            yield f"{prefix}pre_mlp_layernorm.weight", (h,), 1
            yield f"{prefix}mlp.router.weight", (self.experts, h), 1
            yield f"{prefix}mlp.experts.experts.linear_fc1.weight", (self.experts, 2 * f, h), 2
            yield f"{prefix}mlp.experts.experts.linear_fc2.weight", (self.experts, h, f), 1
            yield f"{prefix}mlp.shared_experts.linear_fc1.weight", (4 * f, h), 2
            yield f"{prefix}mlp.shared_experts.linear_fc2.weight", (h, 2 * f), 1
        yield "decoder.final_layernorm.weight", (h,), 1
        yield "output_layer.weight", (self.vocab, h), 1

    @property
    def n_parameters(self) -> int:
        """All parameters."""
        return sum(math.prod(shape) for _, shape, _ in self.tensors())


SMALL = Shape(layers=3, hidden=64, heads=4, ffn=128, moe_ffn=32, experts=8, vocab=512)


def chunks(shape: tuple[int, ...], parts: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield offsets and sizes as Megatron cuts: by expert, and into the halves gate and up."""
    n_leading = shape[0] if len(shape) == 3 else 1  # noqa: PLR2004  (experts, rows, columns)
    rows = shape[-2] // parts if parts > 1 else 0
    for leading in range(n_leading):
        for part in range(parts):
            offsets, sizes = [0] * len(shape), [*shape]
            if n_leading > 1:
                offsets[0], sizes[0] = leading, 1
            if rows:
                offsets[-2], sizes[-2] = part * rows, rows
            yield tuple(offsets), tuple(sizes)


def values(key: str, offsets: tuple[int, ...], sizes: tuple[int, ...]) -> Tensor:
    """Return the random values of a chunk, the same for the same place."""
    generator = torch.Generator().manual_seed(crc32(f"{key} {offsets}".encode()))
    return torch.empty(sizes, dtype=torch.bfloat16).normal_(std=0.02, generator=generator)


def write_checkpoint(run: Path, shape: Shape) -> int:
    """Write a run directory, one chunk after the other; the bytes of its files."""
    folder = run / ITERATION
    folder.mkdir(parents=True)
    stored, described = {}, {}
    with (folder / DATA).open("wb") as file:
        for key, size, parts in shape.tensors():
            cuts = list(chunks(size, parts))
            for offsets, sizes in cuts:
                begin, packed = file.tell(), io.BytesIO()
                torch.save(values(key, offsets, sizes), packed)
                file.write(packed.getbuffer())
                info = _StorageInfo(DATA, begin, file.tell() - begin)
                stored[MetadataIndex(key, offset=torch.Size(offsets))] = info
            described[key] = TensorStorageMetadata(
                TensorProperties(dtype=torch.bfloat16),
                torch.Size(size),
                [ChunkStorageMetadata(torch.Size(o), torch.Size(s)) for o, s in cuts],
            )
    (folder / ".metadata").write_bytes(pickle.dumps(Metadata(described, storage_data=stored)))
    (folder / "metadata.json").write_text(json.dumps(BACKENDS), encoding="utf-8")
    arguments = Namespace(
        num_attention_heads=shape.heads, group_query_attention=False, moe_router_topk=6
    )
    torch.save({"args": arguments, "iteration": 100}, folder / "common.pt")
    (run / "latest_checkpointed_iteration.txt").write_text("100", encoding="utf-8")
    return sum(path.stat().st_size for path in folder.iterdir())


@dataclass(frozen=True)
class Cost:
    """What a process took: time, processor time of all its threads, and memory at its largest."""

    wall_s: float
    cpu_s: float
    peak_memory_bytes: int


def run_and_measure(command: Sequence[str | Path]) -> Cost:
    """Run a command to its end; exits with its error if it fails."""
    measured = [sys.executable, "-c", MEASURE, *map(str, command)]
    done = subprocess.run(measured, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.stderr)
    wall_s, cpu_s, peak_kilobytes = map(float, done.stdout.splitlines()[-1].split())
    return Cost(wall_s, cpu_s, int(peak_kilobytes) * 1024)


def check(model: Path, shape: Shape) -> None:
    """Exit unless the converted model has all parameters, and those of some tensors."""
    found: dict[str, Path] = {}
    n_parameters = 0
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  (it is no dictionary)
                found[name] = path
                n_parameters += math.prod(opened.get_slice(name).get_shape())
    layer, expert = shape.layers - 1, shape.experts - 1
    source = f"decoder.layers.{layer}.mlp.experts.experts."
    f, h = shape.moe_ffn, shape.hidden
    target = f"model.layers.{layer}.mlp.experts.{expert}."
    expected = {
        f"{target}gate_proj.weight": values(f"{source}linear_fc1.weight", (expert, 0, 0), (f, h)),
        f"{target}up_proj.weight": values(f"{source}linear_fc1.weight", (expert, f, 0), (f, h)),
        f"{target}down_proj.weight": values(f"{source}linear_fc2.weight", (expert, 0, 0), (h, f)),
        "lm_head.weight": values("output_layer.weight", (0, 0), (shape.vocab, h)),
    }
    differing = [] if n_parameters == shape.n_parameters else [f"{n_parameters} parameters"]
    for name, wanted in expected.items():
        with safe_open(found[name], "pt") as opened:
            if not torch.equal(opened.get_tensor(name), wanted):
                differing.append(name)
    if differing:
        sys.exit(f"The converted model is not the checkpoint: {', '.join(differing)}")


def measure(folder: Path, shape: Shape, n_rounds: int) -> list[dict[str, Cost]]:
    """Copy and convert in each round, copy first and conversion first in turn."""
    program = Path(sys.executable).with_name("moe-eval")
    commands: dict[str, list[str | Path]] = {
        "copy": [sys.executable, "-c", COPY, folder / "run" / ITERATION, folder / "copy"],
        "convert": [program, "convert", "flame-moe", folder / "run", folder / "convert", "-q"],
    }
    rounds = []
    for number in range(n_rounds):
        names = list(commands) if number % 2 == 0 else list(reversed(commands))
        costs = {}
        for name in names:
            cost = costs[name] = run_and_measure(commands[name])
            if name == "convert":
                check(folder / name, shape)
            shutil.rmtree(folder / name)
            print(
                f"round {number + 1}  {name:8}{cost.wall_s:8.1f} s wall{cost.cpu_s:8.1f} s CPU"
                f"{cost.peak_memory_bytes / MEGABYTE:8.0f} MB at most",
                flush=True,
            )
        rounds.append(costs)
    return rounds


def summary(rounds: Sequence[dict[str, Cost]]) -> dict[str, float]:
    """Return the medians over the rounds; ratios are conversion / copy."""
    pairs = [(one["convert"], one["copy"]) for one in rounds]
    return {
        "wall_s": median(ours.wall_s for ours, _ in pairs),
        "cpu_s": median(ours.cpu_s for ours, _ in pairs),
        "peak_memory_bytes": max(ours.peak_memory_bytes for ours, _ in pairs),
        "wall_ratio": median(ours.wall_s / copy.wall_s for ours, copy in pairs),
        "cpu_ratio": median(ours.cpu_s / copy.cpu_s for ours, copy in pairs),
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--folder", type=Path, help="where the files are written; default: that of temporary files"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument(
        "--short", action="store_true", help="a small model and one round: for CI, no measurement"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the figures, and write them if asked to."""
    options = parse(arguments)
    shape, n_rounds = (SMALL, 1) if options.short else (Shape(), options.rounds)
    needed = 3 * BYTES_PER_PARAMETER * shape.n_parameters
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < needed:
            sys.exit(f"{folder} needs {needed / 10**9:.0f} GB of space: use --folder")
        n_bytes = write_checkpoint(folder / "run", shape)
        print(f"{shape.n_parameters / MEGABYTE:.0f}M parameters, {n_bytes / MEGABYTE:.0f} MB")
        rounds = measure(folder, shape, n_rounds)
    figures = summary(rounds)
    print(
        f"conversion / copy: {figures['wall_ratio']:.2f} of the wall time, "
        f"{figures['cpu_ratio']:.2f} of the CPU time; "
        f"at most {figures['peak_memory_bytes'] / MEGABYTE:.0f} MB of memory"
    )
    if options.json:
        content = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}",
            "versions": installed_versions(),
            "shape": asdict(shape),
            "n_parameters": shape.n_parameters,
            "n_bytes": n_bytes,
            "summary": figures,
            "rounds": [{key: asdict(cost) for key, cost in one.items()} for one in rounds],
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
