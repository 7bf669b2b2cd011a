"""Finished sweeps as files, without a model: results of known answers, and a manifest."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.publish.bundle.contents import collect
from moe_eval_plugin.publish.bundle.pack import pack
from moe_eval_plugin.sweeps.manifest import Entry, Manifest
from tests.report.report_runs import TASK, right, write_run, wrong_every
from tests.vqa.vqa_files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.dataset import Record

    Answer = Callable[[int, Record], str]

LOCK = "# a lock\nlmms-eval==0.7.3\nmoe-eval-plugin==0.1.0\ntransformers==5.23.0\n"
HARDWARE = {"kind": "cpu", "name": "a processor", "n_devices": 1, "threads": 2}
SETTINGS = {
    "model": "moe_hf",
    "model_args": "pretrained=demo",
    "tasks": TASK,
    "limit": 40,
    "batch_size": "4",
    "device": None,
    "gen_kwargs": None,
    "include_path": None,
}


def point(k: int | str, seed: int | None = None, *, several: bool = False) -> dict[str, Any]:
    """Make the fields of a point of a sweep, as its manifest holds them."""
    return {
        "name": f"k{k}-seed{seed}" if several else f"k{k}",
        "experts_k": str(k),
        "experts_policy": "uniform",
        "renorm": "native",
        "seed": seed,
        "is_baseline": str(k) == "8",
    }


def write_sweep(
    folder: Path,
    answers: Mapping[int, Answer] | None = None,
    *,
    rates: Mapping[int, Sequence[float]] | None = None,
) -> Path:
    """Write a sweep over k 8 and 2; with several rates of a k, a point of each seed."""
    answers = answers or {8: right, 2: wrong_every(4)}
    rates = rates or {k: [10.0] for k in answers}
    manifest = Manifest(folder, SETTINGS)
    for k, answer in answers.items():
        several = len(rates[k]) > 1
        for seed, rate in enumerate(rates[k]):
            fields = point(k, seed if several else None, several=several)
            path = write_run(folder / fields["name"] / "demo", k, answer, rate=rate)
            change(path, in_record(_complete))
            relative = str(path.relative_to(folder))
            manifest.entries[fields["name"]] = Entry(fields, "digest", "done", relative)
    manifest.save()
    return folder


def change(path: Path, mend: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text("utf-8"))
    mend(content)
    write_json(path, content)


def in_record(mend: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Change the record of the task within a results file."""

    def mended(content: dict[str, Any]) -> None:
        mend(content["moe_eval"][TASK])

    return mended


def results_of(folder: Path, name: str) -> Path:
    """Find the results file of a point."""
    (path,) = (folder / name).rglob("*_results.json")
    return path


def packed(folder: Path, output: Path) -> Path:
    """Pack a sweep, and return the archive."""
    pack(collect(folder, LOCK), LOCK, output)
    return output


def members(archive: Path) -> dict[str, bytes]:
    """Read all files of an archive."""
    with tarfile.open(archive) as opened:
        return {
            member.name: content.read()
            for member in opened
            if (content := opened.extractfile(member)) is not None
        }


def rewrite(archive: Path, files: Mapping[str, bytes], *special: tarfile.TarInfo) -> None:
    """Write an archive anew with other files, as somebody who tampers would."""
    with gzip.open(archive, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
        for member in special:
            opened.addfile(member)


def _complete(record: dict[str, Any]) -> None:
    record["provenance"]["hardware"] = HARDWARE
    record["speed"]["n_input_tokens"] = 1_000
    record["speed"]["output_tokens_per_s"] = 2 * record["speed"]["samples_per_s"]
